package main

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The floors do what they say: a right signature, and a row for each request.
func TestFloors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "floor.db")
	row, err := openWriter(file, 4)
	if err != nil {
		t.Fatal(err)
	}
	const requests = 100
	for name, w := range map[string]toucher{"sign": nil, "row": row} {
		h, err := newHandler("http://floor", w)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewServer(h)
		defer s.Close()
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				for j := range requests / 10 {
					err := ask(s.URL, fmt.Sprint(i, "-", j), &h.key.PublicKey)
					if err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
				}
			})
		}
		all.Wait()
	}
	err = row.close()
	if err != nil {
		t.Fatal(err)
	}
	if n := updates(t, file); n != requests {
		t.Errorf("%d requests updated rows %d times", requests, n)
	}
}

func ask(at, token string, key *ecdsa.PublicKey) error {
	res, err := http.PostForm(at, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {"app"}})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var b body
	err = json.NewDecoder(res.Body).Decode(&b)
	if err != nil || res.StatusCode != http.StatusOK || b.Refresh == "" || b.Refresh == token {
		return fmt.Errorf("status %d, %+v, %w", res.StatusCode, b, err)
	}
	dot := strings.LastIndexByte(b.Access, '.')
	sig, err := base64.RawURLEncoding.DecodeString(b.Access[dot+1:])
	if err != nil || len(sig) != 64 {
		return fmt.Errorf("a signature of %d bytes, %w", len(sig), err)
	}
	digest := sha256.Sum256([]byte(b.Access[:dot]))
	if !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return fmt.Errorf("a wrong signature")
	}
	return nil
}

// updates counts what the rows of a closed database went through.
func updates(t *testing.T, file string) int64 {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int64
	err = db.QueryRow("SELECT sum(generation - 1) FROM device").Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestHashes(t *testing.T) {
	if n := hashes(time.Millisecond, 1); n <= 0 {
		t.Errorf("%f hashes a second", n)
	}
}
