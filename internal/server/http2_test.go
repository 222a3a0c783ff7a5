package server_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// frame is one frame of HTTP/2 (RFC 9113 section 4.1).
func frame(kind, flags byte, stream uint32, payload string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	b = append(b, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	return string(b) + payload
}

// TestHTTP2IsRefused (HTTP-03): the server speaks HTTP/1.1 alone. Whoever begins in
// HTTP/2, or asks to go on in it, never gets there, so that no flood of its frames
// costs more than the bytes that were read with the beginning.
func TestHTTP2IsRefused(t *testing.T) {
	a := attacks(t)
	dial := overTCP(a.running())
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	settings := frame(4, 0, 0, "")
	var resets strings.Builder // a request and its end, over and over
	for stream := uint32(1); stream < 20_000; stream += 2 {
		resets.WriteString(frame(1, 5, stream, "\x82\x84\x86") + frame(3, 0, stream, "\x00\x00\x00\x08"))
	}
	for name, flood := range map[string]string{
		"preface": "", "settings": strings.Repeat(settings, 20_000), "rapid reset": settings + resets.String(),
		"continuation": settings + frame(1, 0, 1, "\x82") + strings.Repeat(frame(9, 0, 1, "\x00\x01a\x01b"), 20_000),
		"empty data":   settings + frame(1, 0, 1, "\x82\x84\x86") + strings.Repeat(frame(0, 0, 1, ""), 20_000), "ping": settings + strings.Repeat(frame(6, 0, 0, "12345678"), 20_000),
	} {
		a.in("prior knowledge, "+name, func(a attack) {
			before := a.server.Served()
			c, err := dial()
			if err != nil {
				a.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(guard))
			go func() { _, _ = io.WriteString(c, preface+flood) }() // the server does not read all of it
			said, err := io.ReadAll(c)
			if err != nil && !errors.Is(err, syscall.ECONNRESET) { // a flood that nobody reads is reset
				a.Fatalf("the connection goes on: %v", err)
			}
			if len(said) > 0 && (!bytes.HasPrefix(said, []byte("HTTP/1.1 400 ")) || bytes.Count(said, []byte("HTTP/1.1")) != 1) {
				a.Errorf("answered %q", said)
			}
			if heard := a.server.Served() - before; heard > 1 {
				a.Errorf("%d requests were heard", heard)
			}
		})
	}
	for name, c := range map[string]struct {
		asks    string
		answers int
	}{
		"upgrade":                {"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", 3},
		"upgrade, no settings":   {"Connection: Upgrade\r\nUpgrade: h2c\r\n", 3},
		"upgrade, then in it":    {"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + preface + settings, 2},
		"upgrade to TLS instead": {"Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n", 3},
	} {
		a.in(name, func(a attack) {
			all := a.exchanged(dial, probe(c.asks, ""))
			if len(all) != c.answers || all[0].status != 200 || all[0].header.Get("Upgrade") != "" {
				a.Errorf("answered %v", all)
			}
		})
	}
	a.in("TLS", func(a attack) {
		all := a.exchanged(func() (net.Conn, error) { return dial() }, "\x16\x03\x01\x00\x05hello\r\n\r\n"+last)
		if len(all) != 1 || all[0].status != 400 {
			a.Errorf("answered %v", all)
		}
	})
}
