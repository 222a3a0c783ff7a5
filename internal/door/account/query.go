package account

import (
	"cmp"
	"encoding/binary"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"holdfast.example/internal/cursor"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// query are the parameters of one request, each sent once.
type query map[string]string

// query reads the parameters that an endpoint has. One that it has not is
// refused: a typo must not silently list something else.
func (a *ask) query(known ...string) (query, error) {
	sent, err := url.ParseQuery(a.URL.RawQuery)
	if err != nil {
		return nil, fault.Wrap(fault.InvalidRequest, err, "the query is not url-encoded text")
	}
	q := query{}
	for name, values := range sent {
		if !slices.Contains(known, name) {
			return nil, fault.New(fault.InvalidRequest, "the query has a parameter that this endpoint does not read; it reads "+cmp.Or(strings.Join(known, ", "), "none"))
		}
		if len(values) > 1 || values[0] == "" {
			return nil, fault.Newf(fault.InvalidRequest, "send %s once, with a value", name)
		}
		q[name] = values[0]
	}
	return q, nil
}

func (q query) flag(name string) (bool, error) {
	switch q[name] {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, fault.Newf(fault.InvalidRequest, "%s is true or false", name)
}

func (q query) limit() (int, error) {
	s, sent := q["limit"]
	if !sent {
		return usualPage, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > MaxPage || strconv.Itoa(n) != s {
		return 0, fault.Newf(fault.InvalidRequest, "limit is a number from 1 to %d", MaxPage)
	}
	return n, nil
}

// A cursor is bound to its list by the list's name: whose it is and what it
// shows. The place in it has fixed-width fields.

// eventList is what happened to one user.
type eventList struct{ user id.User }

func (l eventList) name() string { return "account events " + l.user.String() }

func (l eventList) seal(k cursor.Keys, before int64) string {
	return cursor.Seal(k, l.name(), binary.BigEndian.AppendUint64(nil, uint64(before)))
}

func (l eventList) open(k cursor.Keys, text string) (before int64, err error) {
	if text == "" {
		return 0, nil
	}
	b, err := cursor.Open(k, l.name(), text)
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

// sessionList is one user's devices, standing or ended.
type sessionList struct {
	user  id.User
	ended bool
}

func (l sessionList) name() string {
	return "account sessions " + l.user.String() + " ended=" + strconv.FormatBool(l.ended)
}

func (l sessionList) seal(k cursor.Keys, p session.Place) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(session.Millis(p.UsedAt)))
	return cursor.Seal(k, l.name(), append(b, p.Session[:]...))
}

func (l sessionList) open(k cursor.Keys, text string) (session.Place, error) {
	if text == "" {
		return session.Place{}, nil
	}
	b, err := cursor.Open(k, l.name(), text)
	if err != nil {
		return session.Place{}, err
	}
	return session.Place{UsedAt: session.FromMillis(int64(binary.BigEndian.Uint64(b))), Session: id.Session(b[8:])}, nil
}
