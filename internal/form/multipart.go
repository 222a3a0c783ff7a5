package form

import (
	"mime"
	"strings"
	"unicode/utf8"

	"holdfast.example/internal/fault"
)

// maxBoundary is RFC 2046 section 5.1.1, in characters.
const maxBoundary = 70

// lineEnd is what ends a line of a multipart body (RFC 2046 section 4.1.1).
const lineEnd = "\r\n"

// ParseMultipart reads a multipart/form-data body (RFC 7578) of text fields, with
// the rules of Parse. boundary is the parameter of the Content-Type. A file, a
// field in another encoding than UTF-8 and a body without its last boundary are
// refused; what stands before the first boundary and after the last is not read.
//
// Readers of such bodies differ in what they forgive: lines that end with LF alone,
// a boundary inside a line or after the last one, headers that are folded or stand
// there twice. All of that is refused, so that nobody who reads a body before us sees
// other fields in it.
func ParseMultipart(body, boundary string) (Values, error) {
	if len(body) > MaxBody {
		return Values{}, fault.Newf(fault.TooLarge, "the body is larger than %d bytes", MaxBody)
	}
	broken := fault.New(fault.InvalidRequest, "the body is not valid multipart/form-data")
	if !isBoundary(boundary) {
		return Values{}, broken
	}
	pieces := strings.SplitN(body, "--"+boundary, MaxFields+3) // before, after, and one too many
	if len(pieces) > MaxFields+2 {
		return Values{}, fault.Newf(fault.InvalidRequest, "the body has more than %d parameters", MaxFields)
	}
	before, after := pieces[0], pieces[len(pieces)-1]
	rest, closed := strings.CutPrefix(after, "--")
	rest = strings.TrimLeft(rest, " \t")
	if len(pieces) < 2 || !closed || before != "" && !strings.HasSuffix(before, lineEnd) || rest != "" && !strings.HasPrefix(rest, lineEnd) {
		return Values{}, broken
	}
	var v Values
	for _, piece := range pieces[1 : len(pieces)-1] {
		header, value, ok := cutPart(piece)
		if !ok {
			return Values{}, broken
		}
		name, err := field(header)
		if err != nil {
			return Values{}, err
		}
		if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
			return Values{}, fault.Newf(fault.InvalidRequest, "the value of %s is not valid UTF-8 text", shown(name))
		}
		err = v.add(name, value)
		if err != nil {
			return Values{}, err
		}
	}
	return v, nil
}

// isBoundary holds a boundary to the characters of RFC 2046 section 5.1.1.
func isBoundary(s string) bool {
	for _, c := range s {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("'()+_,-./:=? ", c) {
			return false
		}
	}
	return s != "" && len(s) <= maxBoundary && !strings.HasSuffix(s, " ")
}

// cutPart cuts what stands between two boundaries into its header and its value.
// Both boundaries are lines of their own.
func cutPart(piece string) (header, value string, ok bool) {
	piece, first := strings.CutPrefix(strings.TrimLeft(piece, " \t"), lineEnd)
	piece, last := strings.CutSuffix(piece, lineEnd)
	if !first || !last {
		return "", "", false
	}
	header, value, ok = strings.Cut(piece, lineEnd+lineEnd)
	if !ok { // a part may end with its header
		header, ok = strings.CutSuffix(piece, lineEnd)
	}
	return header, value, ok
}

// partHeader is the header of a part, as far as it is read.
type partHeader struct{ disposition, kind, encoding string }

// readHeader reads the lines of a header. Those with other names are nothing to us.
func readHeader(text string) (h partHeader, ok bool) {
	for line := range strings.SplitSeq(text, lineEnd) {
		name, value, found := strings.Cut(line, ":")
		if !found || name == "" || strings.ContainsAny(name, " \t") || strings.ContainsAny(line, "\r\n\x00") {
			return partHeader{}, false
		}
		var into *string
		switch strings.ToLower(name) {
		case "content-disposition":
			into = &h.disposition
		case "content-type":
			into = &h.kind
		case "content-transfer-encoding":
			into = &h.encoding
		default:
			continue
		}
		value = strings.Trim(value, " \t")
		if *into != "" || value == "" {
			return partHeader{}, false
		}
		*into = value
	}
	return h, true
}

// field is the name of a part that is a text field.
func field(header string) (string, error) {
	h, ok := readHeader(header)
	if !ok {
		return "", fault.New(fault.InvalidRequest, "a part of the body has a header that is not valid")
	}
	kind, params, err := ParseMediaType(h.disposition)
	name := params["name"]
	if err != nil || kind != "form-data" || name == "" || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return "", fault.New(fault.InvalidRequest, "a part of the body has no name")
	}
	if _, file := params["filename"]; file {
		return "", fault.Newf(fault.InvalidRequest, "%s is a file; send text", shown(name))
	}
	switch strings.ToLower(h.encoding) {
	case "", "7bit", "8bit", "binary":
	default:
		return "", fault.Newf(fault.InvalidRequest, "send %s without Content-Transfer-Encoding", shown(name))
	}
	if h.kind != "" {
		kind, params, err := ParseMediaType(h.kind)
		charset := params["charset"]
		if err != nil || kind != "text/plain" || charset != "" && !strings.EqualFold(charset, "utf-8") {
			return "", fault.Newf(fault.InvalidRequest, "send %s as plain text in UTF-8", shown(name))
		}
	}
	return name, nil
}

// ParseMediaType is the one of package mime without what many readers do not know: a
// parameter in the extended form of RFC 2231 (name*, name*0), which would come before
// the plain one, and a backslash, whose meaning they do not agree on.
func ParseMediaType(header string) (kind string, params map[string]string, err error) {
	quoted := false
	for _, c := range header {
		if c == '"' {
			quoted = !quoted
		}
		if c == '\\' || c == '*' && !quoted {
			return "", nil, mime.ErrInvalidMediaParameter
		}
	}
	return mime.ParseMediaType(header)
}
