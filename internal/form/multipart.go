package form

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"unicode/utf8"

	"holdfast.example/internal/fault"
)

// ParseMultipart reads a multipart/form-data body (RFC 7578) of text fields, with
// the rules of Parse. boundary is the parameter of the Content-Type. A file, a
// field in another encoding than UTF-8 and a body without its last boundary are
// refused; what stands before the first boundary and after the last is not read.
func ParseMultipart(body, boundary string) (Values, error) {
	if len(body) > MaxBody {
		return Values{}, fault.Newf(fault.TooLarge, "the body is larger than %d bytes", MaxBody)
	}
	broken := fault.New(fault.InvalidRequest, "the body is not valid multipart/form-data")
	if boundary == "" || len(boundary) > maxBoundary {
		return Values{}, broken
	}
	var v Values
	parts := multipart.NewReader(strings.NewReader(body), boundary)
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			// Where the last boundary is missing, the reader wraps io.EOF.
			if err != io.EOF {
				return Values{}, broken
			}
			return v, nil
		}
		if err != nil {
			return Values{}, broken
		}
		if len(v.names) == MaxFields {
			return Values{}, fault.Newf(fault.InvalidRequest, "the body has more than %d parameters", MaxFields)
		}
		name, err := field(part)
		if err != nil {
			return Values{}, err
		}
		value, err := io.ReadAll(part) // at most the body
		if err != nil {
			return Values{}, broken
		}
		if !utf8.Valid(value) || strings.ContainsRune(string(value), 0) {
			return Values{}, fault.Newf(fault.InvalidRequest, "the value of %s is not valid UTF-8 text", shown(name))
		}
		err = v.add(name, string(value))
		if err != nil {
			return Values{}, err
		}
	}
}

// maxBoundary is RFC 2046 section 5.1.1, in characters.
const maxBoundary = 70

// field is the name of a part that is a text field.
func field(part *multipart.Part) (string, error) {
	said := part.Header["Content-Disposition"]
	if len(said) != 1 {
		return "", fault.New(fault.InvalidRequest, "a part of the body has no name")
	}
	kind, params, err := mime.ParseMediaType(said[0])
	name := params["name"]
	if err != nil || kind != "form-data" || name == "" || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return "", fault.New(fault.InvalidRequest, "a part of the body has no name")
	}
	if _, file := params["filename"]; file {
		return "", fault.Newf(fault.InvalidRequest, "%s is a file; send text", shown(name))
	}
	switch strings.ToLower(part.Header.Get("Content-Transfer-Encoding")) {
	case "", "7bit", "8bit", "binary":
	default:
		return "", fault.Newf(fault.InvalidRequest, "send %s without Content-Transfer-Encoding", shown(name))
	}
	if sent := part.Header.Get("Content-Type"); sent != "" {
		kind, params, err := mime.ParseMediaType(sent)
		charset := params["charset"]
		if err != nil || kind != "text/plain" || charset != "" && !strings.EqualFold(charset, "utf-8") {
			return "", fault.Newf(fault.InvalidRequest, "send %s as plain text in UTF-8", shown(name))
		}
	}
	return name, nil
}
