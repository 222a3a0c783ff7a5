// Package manifest owns the reading of manifests: TOML files that declare
// clients, users and upstreams (design.md section 10), and the manifest of
// `holdfast dev`.
//
//	Read ──▶ every field known and of its type ──▶ every rule ──▶ Manifest
//
// It does not own what becomes of a declaration. Clients go to client.Registry.Apply; users and
// upstreams are plain declarations here, and the wiring hands them to the rooms
// that keep them.
package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"holdfast.example/internal/client"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/settings"
)

// Manifest is what a file declares, complete and checked.
type Manifest struct {
	Clients   []client.Declared
	Users     []User
	Upstreams []Upstream
}

// User is a declared account.
type User struct {
	Username      string
	Email         string
	EmailVerified bool
	// Password is the password in the clear, PasswordHash a hash made elsewhere
	// (Django, bcrypt, argon2id, scrypt). At most one is set; with none the
	// account cannot sign in by password.
	Password     secret.Text
	PasswordHash secret.Text
	// Number is the account's integer id in an Open edX, 0 for none.
	Number     int64
	Name       string
	GivenName  string
	FamilyName string
	Staff      bool
	Superuser  bool
	// Stopped, when set, disables or enables the account; nil leaves the matter
	// to the operator.
	Stopped *bool
	// At is where the account is declared, for errors that are found later.
	At settings.Source
}

// Upstream is a declared third-party identity provider.
type Upstream struct {
	ID   string
	Kind string // google | facebook | apple | microsoft | oidc
	// ClientIDs are our apps' ids at the provider: whose tokens are for us.
	ClientIDs    []string
	ClientSecret secret.Text
	Issuer       string
	// BaseURL replaces the provider's own addresses, for tests and gateways.
	BaseURL string
	Link    string // never | verified_email
	At      settings.Source
}

// Options are what a manifest is read with.
type Options struct {
	// Env looks up an environment variable, as os.LookupEnv; nil finds none.
	Env func(string) (string, bool)
	// Server is what clients are held to.
	Server client.Server
	// Alone: the manifest came from elsewhere, so no file and no environment
	// variable that it names is read.
	Alone bool
}

// Read reads and checks a manifest file. Files it names are looked for beside
// it. The warnings come with and without an error; the error is
// settings.Problems.
func Read(path string, o Options) (Manifest, settings.Problems, error) {
	doc, err := settings.ReadFile(path)
	if err != nil {
		return Manifest{}, nil, err
	}
	r := newReader(doc, filepath.Dir(path), o)
	info, err := os.Stat(path)
	if err == nil && r.holdsSecrets() && !o.Server.Dev {
		r.exposed(path, info)
	}
	return r.finish()
}

// exposed warns of a manifest with secrets that everybody may read. It is no
// error: a manifest often lives in a checkout.
func (r *reader) exposed(path string, info os.FileInfo) {
	p := settings.SecretMode(path, info)
	if p == nil {
		return
	}
	p.Warning, p.At, p.Value = true, settings.Source{File: path}, ""
	p.Reason = "this manifest holds secrets, and " + p.Reason
	r.problems = append(r.problems, *p)
}

// Parse reads and checks a manifest's text. name is the file it came from: errors
// call it so, and files that it names are looked for beside it.
func Parse(name string, data []byte, o Options) (Manifest, settings.Problems, error) {
	doc, err := settings.Parse(name, data)
	if err != nil {
		return Manifest{}, nil, err
	}
	return newReader(doc, filepath.Dir(name), o).finish()
}

// The codes of the rules this room holds a manifest to, beside those of the
// room client.
const (
	codeUser     = "HF301"
	codeTwice    = "HF302"
	codeSecret   = "HF303"
	codeUpstream = "HF304"
)

// Rules lists the codes of this room for the reference.
func Rules() []settings.Rule {
	return []settings.Rule{
		{Code: codeUser, Says: "A user has a username, at most one of password and password_hash, and plain names."},
		{Code: codeTwice, Says: "A client, a user or an upstream is declared once."},
		{Code: codeSecret, Says: "Exactly one of secret, secret_env and secret_file gives a confidential client its secret."},
		{Code: codeUpstream, Says: "An upstream has a known kind, our client ids there, https addresses, and for Facebook its one app's secret."},
	}
}

// file is a manifest as it is written.
type file struct {
	Clients   []clientEntry   `toml:"clients"`
	Users     []userEntry     `toml:"users"`
	Upstreams []upstreamEntry `toml:"upstreams"`
}

// reader is one manifest being read.
type reader struct {
	Options
	dir      string
	file     file
	places   settings.Places
	problems settings.Problems
	// doubted are fields whose values are not what somebody meant; a rule about
	// one of them would only confuse.
	doubted map[string]bool
}

func newReader(doc *settings.Document, dir string, o Options) *reader {
	r := &reader{Options: o, dir: dir}
	r.places, r.problems = doc.Decode(&r.file)
	r.doubted = r.problems.Doubted()
	return r
}

// finish turns entries into declarations and collects every problem.
func (r *reader) finish() (Manifest, settings.Problems, error) {
	var m Manifest
	for i, e := range r.file.Clients {
		m.Clients = append(m.Clients, r.client(i, e))
	}
	for i, e := range r.file.Users {
		m.Users = append(m.Users, r.user(i, e))
	}
	for i, e := range r.file.Upstreams {
		m.Upstreams = append(m.Upstreams, r.upstream(i, e))
	}
	r.twice()
	errs, warnings := r.problems.Split()
	if errs != nil {
		return Manifest{}, warnings, errs
	}
	return m, warnings, nil
}

// refuse notes a problem of a field, or of a whole entry when the path names one.
func (r *reader) refuse(code, path, value, reason, mend string) {
	if r.doubted[path] {
		return
	}
	_, key, _ := strings.Cut(path, ".")
	key, _, _ = strings.Cut(key, "[")
	r.problems = append(r.problems, settings.Problem{Code: code, At: r.places.At(path), Key: key, Value: value, Reason: reason, Mend: mend})
}

// twice refuses a name that is declared again, and says where it was before.
func (r *reader) twice() {
	seen := map[string]string{}
	again := func(what, name, path string) {
		if name == "" {
			return
		}
		key := what + "\x00" + strings.ToLower(name)
		if first, found := seen[key]; found {
			r.refuse(codeTwice, path, fmt.Sprintf("%q", name), fmt.Sprintf("this %s is declared already at %s", what, r.places.At(first)), "keep one")
			return
		}
		seen[key] = path
	}
	clients := map[id.Client]string{} // client ids compare byte for byte
	for i, e := range r.file.Clients {
		path := fmt.Sprintf("clients[%d].id", i)
		if first, found := clients[e.ID]; found && e.ID != "" {
			r.refuse(codeTwice, path, fmt.Sprintf("%q", e.ID), "this client is declared already at "+r.places.At(first).String(), "keep one")
		}
		clients[e.ID] = path
	}
	for i, e := range r.file.Users {
		// A user name and an e-mail address find an account in one name space.
		again("user", e.Username, fmt.Sprintf("users[%d].username", i))
		if !strings.EqualFold(e.Email, e.Username) {
			again("user", e.Email, fmt.Sprintf("users[%d].email", i))
		}
		if e.Number != 0 {
			again("user id", fmt.Sprint(e.Number), fmt.Sprintf("users[%d].id", i))
		}
	}
	for i, e := range r.file.Upstreams {
		again("upstream", e.ID, fmt.Sprintf("upstreams[%d].id", i))
	}
}

// holdsSecrets reports whether the file itself contains a secret.
func (r *reader) holdsSecrets() bool {
	for _, e := range r.file.Clients {
		if !e.Secret.Empty() {
			return true
		}
	}
	for _, e := range r.file.Users {
		if !e.Password.Empty() || !e.PasswordHash.Empty() {
			return true
		}
	}
	for _, e := range r.file.Upstreams {
		if !e.Secret.Empty() {
			return true
		}
	}
	return false
}

// secret reads a secret from the one place that is named: the file itself, the
// environment, or a file of its own. prefix is the entry's path and the name of
// the field without _env and _file.
func (r *reader) secret(prefix string, inline secret.Text, env, path string) (s secret.Text, named bool) {
	var at []string
	for _, way := range []struct {
		suffix string
		set    bool
	}{{"", !inline.Empty() || r.places.Written(prefix)}, {"_env", env != "" || r.places.Written(prefix+"_env")}, {"_file", path != "" || r.places.Written(prefix+"_file")}} {
		if way.set {
			at = append(at, prefix+way.suffix)
		}
	}
	if len(at) == 0 {
		return s, false
	}
	if len(at) > 1 {
		r.refuse(codeSecret, at[1], "", "the secret is given twice: the other one is at "+r.places.At(at[0]).String(), "keep one")
		return s, true
	}
	switch {
	case r.Alone && (env != "" || path != ""):
		r.refuse(codeSecret, at[0], "", "this manifest was sent over the network, and names something on the server's machine", "send the secret itself, or apply the manifest on that machine")
	case env != "":
		value, found := "", false
		if r.Env != nil {
			value, found = r.Env(env)
		}
		if !found || value == "" {
			r.refuse(codeSecret, at[0], fmt.Sprintf("%q", env), "this environment variable is not set", "set it for the server, which reads the manifest while it runs, or write secret_file")
		}
		s = secret.New(value)
	case path != "":
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.dir, path)
		}
		var p *settings.Problem
		s, p = settings.ReadSecret(path)
		if p != nil {
			r.refuse(p.Code, at[0], p.Value, p.Reason, p.Mend)
		}
	case inline.Empty():
		r.refuse(codeSecret, at[0], "", "the secret is empty", "write the secret, or remove the line")
	default:
		s = inline
	}
	return s, true
}
