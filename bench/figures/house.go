package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
)

// What the house is filled with.
const (
	// devices is how many are signed in at each server.
	devices  = 128
	users    = 64
	password = "correct horse battery staple"

	// phone rotates at every refresh, so that each one is a durable write.
	phone = "bench-phone"
	// api is a confidential client that signs in, asks about tokens, and gets
	// tokens of its own.
	api       = "bench-api"
	apiSecret = "bench-api-secret-of-this-run-only"
)

// startHouse starts `holdfast serve` as an operator would, on data in a folder
// of its own. The time is that from its start to its first 200.
func (p *plan) startHouse(folder string) (*server, time.Duration, error) {
	return p.startNode(folder, "", "")
}

// startNode is startHouse over a database, "" for an embedded one. Nodes of one
// house share its issuer, "" for a house of its own.
func (p *plan) startNode(folder, issuer, database string) (*server, time.Duration, error) {
	dir := filepath.Join(p.dir, folder)
	config := filepath.Join(dir, "holdfast.toml")
	at, err := freePorts(2)
	if err != nil {
		return nil, 0, err
	}
	if issuer == "" {
		issuer = "http://" + at[0]
	}
	err = settle(dir, issuer, at[0], at[1], config, database)
	if err != nil {
		return nil, 0, err
	}
	began := time.Now()
	s, err := launch(house, filepath.Join(dir, "log"), p.program("holdfast"), "serve", "--config", config)
	if err != nil {
		return nil, 0, err
	}
	s.base, s.metrics = "http://"+at[0], "http://"+at[1]
	took, err := s.ready(s.base+"/readyz", began)
	return s, took, err
}

// settle writes the settings, and the root secret when there is none yet.
func settle(dir, issuer, listen, metrics, config, database string) error {
	root := filepath.Join(dir, "root.secret")
	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		return err
	}
	if _, err := os.Stat(root); err != nil {
		var b [32]byte
		rand.Read(b[:])
		err := os.WriteFile(root, []byte("hfroot_"+base64.RawURLEncoding.EncodeToString(b[:])+"\n"), 0o600)
		if err != nil {
			return err
		}
	}
	text := fmt.Sprintf("issuer = %q\nlisten = %q\ndata = %q\nroot_secret_file = %q\nmetrics_listen = %q\nlog_format = \"json\"\n",
		issuer, listen, filepath.Join(dir, "data"), root, metrics)
	if database != "" {
		text += fmt.Sprintf("database = %q\n", database)
	}
	return os.WriteFile(config, []byte(text), 0o600)
}

// furnish declares the clients and users through the command line.
func (p *plan) furnish(s *server) error {
	dir := filepath.Dir(s.log)
	manifest := filepath.Join(dir, "manifest.toml")
	err := os.WriteFile(manifest, []byte(declaration()), 0o600)
	if err != nil {
		return err
	}
	out, err := exec.Command(p.program("holdfast"), "apply", "--config", filepath.Join(dir, "holdfast.toml"), "-f", manifest).CombinedOutput()
	if err != nil {
		return fmt.Errorf("the clients and users cannot be declared: %w: %s", err, out)
	}
	return nil
}

func declaration() string {
	var b strings.Builder
	fmt.Fprintf(&b, `[[clients]]
id = %q
type = "public"
first_party = true
grants = ["password", "refresh_token"]
scopes = ["openid", "profile", "email", "offline_access", "read", "write"]
refresh = "strict"

[[clients]]
id = %q
type = "confidential"
secret = %q
first_party = true
grants = ["password", "refresh_token", "client_credentials"]
scopes = ["offline_access", "read", "write", "introspect"]
refresh = "strict"
`, phone, api, apiSecret)
	salt := []byte("salt of the runs")
	b64 := base64.RawStdEncoding.EncodeToString
	hash := fmt.Sprintf("$argon2id$v=19$m=19456,t=2,p=1$%s$%s", b64(salt), b64(argon2.IDKey([]byte(password), salt, 2, 19456, 1, 32)))
	for i := range users {
		fmt.Fprintf(&b, "\n[[users]]\nusername = \"user%d\"\nemail = \"user%d@example.com\"\nemail_verified = true\npassword_hash = %q\n", i, i, hash)
	}
	return b.String()
}
