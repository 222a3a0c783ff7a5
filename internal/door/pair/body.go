package pair

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/form"
	"holdfast.example/internal/secret"
)

// The media types that are read.
const (
	typeJSON  = "application/json"
	typeForm  = "application/x-www-form-urlencoded"
	typeMulti = "multipart/form-data"
)

// What Django REST framework says of a field.
const (
	required   = "This field is required."
	blank      = "This field may not be blank."
	null       = "This field may not be null."
	notString  = "Not a valid string."
	noNullChar = "Null characters are not allowed."
)

// values are the members of one body. Members nobody asks for are not looked at.
type values map[string]value

// value is one member: its text, or why it is none.
type value struct{ text, problem string }

// text is a member without the blanks around it, "" when it is none.
func (v values) text(name string) string { return strings.TrimSpace(v[name].text) }

// secret is a member that must not be printed, as it was sent.
func (v values) secret(name string) secret.Text { return secret.New(v[name].text) }

// String keeps bodies out of logs: they hold passwords and tokens.
func (v values) String() string { return secret.Redacted }

// GoString keeps bodies out of debug prints.
func (v values) GoString() string { return secret.Redacted }

// lacks lists what is wrong with the fields a request needs, in their order.
func (v values) lacks(names ...string) fieldErrors {
	var all fieldErrors
	for _, name := range names {
		got, sent := v[name]
		problem := got.problem
		switch {
		case !sent:
			problem = required
		case problem != "":
		case v.text(name) == "":
			problem = blank
		case strings.ContainsRune(got.text, 0):
			problem = noNullChar
		}
		if problem != "" {
			all = append(all, fieldError{name, problem})
		}
	}
	return all
}

// fieldErrors are what a body lacks, one message for each field.
type fieldErrors []fieldError

type fieldError struct{ field, message string }

// MarshalJSON writes {"field":["message"]} in order.
func (all fieldErrors) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, e := range all {
		b.WriteByte("{,"[min(i, 1)])
		name, _ := json.Marshal(e.field) // strings always encode
		message, _ := json.Marshal(e.message)
		b.Write(name)
		b.WriteString(":[")
		b.Write(message)
		b.WriteByte(']')
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// read reads the body of a request. The error is a *refusal.
func read(w http.ResponseWriter, r *http.Request) (values, error) {
	if r.ContentLength > form.MaxBody {
		return nil, tooLarge()
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, form.MaxBody))
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return nil, tooLarge()
	}
	if err != nil {
		return nil, said(fault.Wrap(fault.InvalidRequest, err, "the body ended early; repeat the request"))
	}
	if len(body) == 0 {
		return values{}, nil
	}
	sent := strings.Join(r.Header["Content-Type"], ", ")
	kind, params, err := form.ParseMediaType(sent)
	charset := params["charset"]
	plain := err == nil && len(r.Header["Content-Type"]) == 1 && (charset == "" || strings.EqualFold(charset, "utf-8")) && r.Header.Get("Content-Encoding") == ""
	switch {
	case plain && kind == typeJSON:
		return parseJSON(body)
	case plain && kind == typeForm:
		return fields(form.Parse(string(body)))
	case plain && kind == typeMulti:
		return fields(form.ParseMultipart(string(body), params["boundary"]))
	}
	return nil, &refusal{http.StatusUnsupportedMediaType, detail{Detail: `Unsupported media type "` + printable(sent) + `" in request.`},
		fault.New(fault.UnsupportedMediaType, "neither JSON nor a form")}
}

func tooLarge() error {
	return said(fault.Newf(fault.TooLarge, "the body is larger than %d bytes", form.MaxBody))
}

// fields are the parameters of a form, which is read as every door does: none
// twice, UTF-8 alone. One that was sent empty is there, and blank.
func fields(f form.Values, err error) (values, error) {
	if err != nil {
		return nil, said(fault.As(err))
	}
	v := values{}
	for _, name := range f.Names() {
		v[name] = value{text: f.Get(name)}
	}
	return v, nil
}

// parseJSON reads one JSON object. No member may stand there twice, because two
// readers would take different ones.
func parseJSON(body []byte) (values, error) {
	bad := func(why string) error {
		return &refusal{http.StatusBadRequest, detail{Detail: "JSON parse error - " + why}, fault.New(fault.InvalidRequest, "the body is not JSON")}
	}
	switch {
	case !utf8.Valid(body):
		return nil, bad("the text is not UTF-8")
	case !json.Valid(body):
		return nil, bad("the body is not one JSON value")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	first, err := dec.Token()
	if err != nil {
		return nil, bad("the body cannot be read")
	}
	if first != json.Delim('{') {
		return nil, &refusal{http.StatusBadRequest, nonField("Invalid data. Expected a dictionary, but got " + pythonType(first) + "."),
			fault.New(fault.InvalidRequest, "the body is no JSON object")}
	}
	v := values{}
	for dec.More() {
		name, err := dec.Token()
		key, isName := name.(string)
		var raw json.RawMessage
		if err == nil {
			err = dec.Decode(&raw)
		}
		_, twice := v[key]
		switch {
		case err != nil || !isName:
			return nil, bad("the body cannot be read")
		case twice:
			return nil, bad("a member stands there twice")
		case len(v) == form.MaxFields:
			return nil, bad("there are too many members")
		}
		v[key] = valueOf(raw)
	}
	return v, nil
}

// valueOf reads a member as Django REST framework's CharField does: numbers are
// text too.
func valueOf(raw json.RawMessage) value {
	switch raw[0] {
	case '"':
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return value{problem: notString}
		}
		return value{text: s}
	case 'n':
		return value{problem: null}
	case '{', '[', 't', 'f':
		return value{problem: notString}
	}
	return value{text: string(raw)}
}

// pythonType is what the original calls a JSON value.
func pythonType(t json.Token) string {
	switch t := t.(type) {
	case json.Delim:
		return "list"
	case string:
		return "str"
	case bool:
		return "bool"
	case json.Number:
		if strings.ContainsAny(t.String(), ".eE") {
			return "float"
		}
		return "int"
	}
	return "NoneType"
}
