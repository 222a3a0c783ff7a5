// Package form owns the strict reading of forms in request bodies and of cookies:
// one spelling per parameter, nothing twice, and a limit on everything.
//
// It does not own what a parameter means: a door reads them once into the
// request of a grant, and nobody further inside sees a form.
package form

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/secret"
)

// The limits of one body.
const (
	// MaxBody is the largest body that is read, in bytes.
	MaxBody = 64 << 10
	// MaxFields is the largest number of parameters.
	MaxFields = 64
	// MaxName is the longest parameter name that an error repeats, in bytes.
	MaxName = 64
)

// mediaType is the type that is read, and multipartType the other one of ReadAny.
const (
	mediaType     = "application/x-www-form-urlencoded"
	multipartType = "multipart/form-data"
)

// Values are the parameters of one body. A parameter sent without a value
// counts as not sent (RFC 6749 section 3.1).
type Values struct {
	names  []string
	values []string
}

// Get returns a parameter, "" when it was not sent.
func (v Values) Get(name string) string {
	for i, n := range v.names {
		if n == name {
			return v.values[i]
		}
	}
	return ""
}

// Secret is Get for what must not be printed.
func (v Values) Secret(name string) secret.Text { return secret.New(v.Get(name)) }

// Has reports whether a parameter was sent with a value.
func (v Values) Has(name string) bool { return v.Get(name) != "" }

// Names lists the parameters in the order of the body, those without a value too.
func (v Values) Names() []string { return slices.Clone(v.names) }

// String keeps bodies out of logs: they hold passwords and tokens.
func (v Values) String() string { return secret.Redacted }

// GoString keeps bodies out of debug prints.
func (v Values) GoString() string { return secret.Redacted }

// Read reads the body of a POST. Errors are *fault.Error: UnsupportedMediaType,
// TooLarge or InvalidRequest, with words that name the parameter, never its value.
func Read(w http.ResponseWriter, r *http.Request) (Values, error) {
	return read(w, r, false)
}

// ReadAny is Read, and takes multipart/form-data too (ParseMultipart): where a
// framework read the forms, its clients may send either.
func ReadAny(w http.ResponseWriter, r *http.Request) (Values, error) {
	return read(w, r, true)
}

func read(w http.ResponseWriter, r *http.Request, multipart bool) (Values, error) {
	if r.URL.RawQuery != "" {
		return Values{}, fault.New(fault.InvalidRequest, "send the parameters in the body, not in the URL: URLs end up in logs")
	}
	if len(r.Header["Content-Type"]) > 1 {
		return Values{}, fault.New(fault.UnsupportedMediaType, "send one Content-Type header")
	}
	kind, params, err := ParseMediaType(r.Header.Get("Content-Type"))
	charset := params["charset"]
	multipart = multipart && kind == multipartType
	if err != nil || kind != mediaType && !multipart || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return Values{}, fault.New(fault.UnsupportedMediaType, "send the body as "+mediaType+" in UTF-8")
	}
	if r.Header.Get("Content-Encoding") != "" {
		return Values{}, fault.New(fault.UnsupportedMediaType, "send the body without Content-Encoding")
	}
	if r.ContentLength > MaxBody {
		return Values{}, fault.Newf(fault.TooLarge, "the body is larger than %d bytes", MaxBody)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		if _, over := err.(*http.MaxBytesError); over {
			return Values{}, fault.Newf(fault.TooLarge, "the body is larger than %d bytes", MaxBody)
		}
		return Values{}, fault.Wrap(fault.InvalidRequest, err, "the body ended early; repeat the request")
	}
	if multipart {
		return ParseMultipart(string(body), params["boundary"])
	}
	return Parse(string(body))
}

// Parse reads a url-encoded body. It refuses a parameter sent twice (RFC 6749
// section 3.2), broken escapes, invalid UTF-8 and NUL, so that
// no two readers can understand one body differently.
func Parse(body string) (Values, error) {
	if len(body) > MaxBody {
		return Values{}, fault.Newf(fault.TooLarge, "the body is larger than %d bytes", MaxBody)
	}
	var v Values
	for body != "" {
		var pair string
		pair, body, _ = strings.Cut(body, "&")
		if pair == "" {
			continue
		}
		if len(v.names) == MaxFields {
			return Values{}, fault.Newf(fault.InvalidRequest, "the body has more than %d parameters", MaxFields)
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := unescape(rawName)
		if err != nil {
			return Values{}, fault.New(fault.InvalidRequest, "a parameter name is not valid url-encoded UTF-8 text")
		}
		value, err := unescape(rawValue)
		if err != nil {
			return Values{}, fault.Newf(fault.InvalidRequest, "the value of %s is not valid url-encoded UTF-8 text", shown(name))
		}
		err = v.add(name, value)
		if err != nil {
			return Values{}, err
		}
	}
	return v, nil
}

// add adds a parameter that was not there.
func (v *Values) add(name, value string) error {
	if slices.Contains(v.names, name) {
		return fault.Newf(fault.InvalidRequest, "%s was sent twice", shown(name))
	}
	v.names = append(v.names, name)
	v.values = append(v.values, value)
	return nil
}

// unescape decodes one side of a pair. Most have nothing to decode.
func unescape(s string) (string, error) {
	if strings.ContainsAny(s, "%+") {
		var err error
		s, err = url.QueryUnescape(s)
		if err != nil {
			return "", err
		}
	}
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return "", url.EscapeError("text")
	}
	return s, nil
}

// shown is a parameter name fit for an error_description (RFC 6749 section 5.2
// allows printable ASCII without quote and backslash).
func shown(name string) string {
	if len(name) > MaxName {
		return "a parameter"
	}
	for _, c := range name {
		if c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return "a parameter"
		}
	}
	return name
}

// Basic reads the Authorization header as RFC 6749 section 2.3.1 wants it: id
// and secret are url-encoded before they are joined. ok is false when there is
// no such header; more than one header is an error.
func Basic(h http.Header) (name string, password secret.Text, ok bool, err error) {
	values := h["Authorization"]
	switch {
	case len(values) == 0:
		return "", secret.Text{}, false, nil
	case len(values) > 1:
		return "", secret.Text{}, false, fault.New(fault.InvalidRequest, "send one Authorization header")
	}
	bad := fault.New(fault.InvalidClient, "the Authorization header is not Basic client authentication")
	rawName, rawSecret, isBasic := (&http.Request{Header: h}).BasicAuth()
	if !isBasic {
		return "", secret.Text{}, false, bad
	}
	name, err = unescape(rawName)
	if err != nil {
		return "", secret.Text{}, false, bad
	}
	pw, err := unescape(rawSecret)
	if err != nil {
		return "", secret.Text{}, false, bad
	}
	return name, secret.New(pw), true, nil
}

// Bearer reads an access token from the Authorization header (RFC 6750 section
// 2.1). Errors are *fault.Error: NoToken when there is none, InvalidRequest for
// a header that cannot be right.
func Bearer(h http.Header) (secret.Text, error) {
	values := h["Authorization"]
	if len(values) > 1 {
		return secret.Text{}, fault.New(fault.InvalidRequest, "send one Authorization header")
	}
	none := fault.New(fault.NoToken, "send an access token in the Authorization header")
	if len(values) == 0 {
		return secret.Text{}, none
	}
	scheme, rest, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return secret.Text{}, none
	}
	if rest == "" || strings.ContainsAny(rest, " ,") {
		return secret.Text{}, fault.New(fault.InvalidRequest, "the Authorization header is not Bearer and one token")
	}
	return secret.New(rest), nil
}
