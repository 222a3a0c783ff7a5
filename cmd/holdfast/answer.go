package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
)

// pageSize is how many rows one call of a list asks for at most.
const pageSize = 1000

// page is one answer to a list: its rows under the list's name, and a cursor while
// more may follow.
type page map[string]json.RawMessage

// list asks for a list page by page, until it has limit rows or the list ends, and
// prints it. Empty filters are left out. A page may be short or empty and not be the
// last, so only the cursor says where the list ends.
func (p asking) list(ctx context.Context, t terminal, path, name string, limit int, filters map[string]string, columns ...string) error {
	if limit < 1 {
		return errors.New("--limit is a number from 1 on")
	}
	return p.with(ctx, t, func(o *operator) error {
		q := url.Values{}
		for filter, value := range filters {
			if value != "" {
				q.Set(filter, value)
			}
		}
		rows, cursor := []json.RawMessage{}, ""
		for {
			q.Set("limit", strconv.Itoa(min(limit-len(rows), pageSize)))
			var got page
			err := o.call(ctx, http.MethodGet, path+"?"+q.Encode(), nil, &got)
			if err != nil {
				return err
			}
			var more []json.RawMessage
			err = json.Unmarshal(got[name], &more)
			if err != nil {
				return err
			}
			rows, cursor = append(rows, more...), ""
			if next := got["next_cursor"]; next != nil {
				err = json.Unmarshal(next, &cursor)
			}
			if err != nil || cursor == "" || len(rows) >= limit {
				return errors.Join(err, p.listed(t, name, rows, cursor, columns))
			}
			q.Set("cursor", cursor)
		}
	})
}

// listed prints the rows of a list, and says it when there are more.
func (p asking) listed(t terminal, name string, rows []json.RawMessage, cursor string, columns []string) error {
	all := map[string]any{name: rows}
	if cursor != "" {
		all["next_cursor"] = cursor
	}
	b, err := json.Marshal(all)
	if err == nil {
		err = p.show(t, b, name, columns...)
	}
	if err == nil && cursor != "" {
		fmt.Fprintf(t.err, "there may be more; these are the first %d (--limit)\n", len(rows))
	}
	return err
}

// tell prints that an act was done: in words, or what the server answered.
func (p asking) tell(t terminal, answer json.RawMessage, words string) error {
	if p.JSON {
		return pretty(t, answer)
	}
	fmt.Fprintln(t.out, words)
	return nil
}

// do carries out one act and tells that it was done.
func (p asking) do(ctx context.Context, t terminal, method, path string, in any, words string) error {
	return p.with(ctx, t, func(o *operator) error {
		var answer json.RawMessage
		err := o.call(ctx, method, path, in, &answer)
		if err != nil {
			return err
		}
		return p.tell(t, answer, words)
	})
}

func pretty(t terminal, answer json.RawMessage) error {
	var b bytes.Buffer
	err := json.Indent(&b, answer, "", "  ")
	if err == nil {
		fmt.Fprintln(t.out, b.String())
	}
	return err
}

// show prints an answer: as JSON, or as a table of the named columns.
func (p asking) show(t terminal, answer json.RawMessage, list string, columns ...string) error {
	if p.JSON {
		return pretty(t, answer)
	}
	rows := []map[string]any{}
	if list == "" {
		var one map[string]any
		err := json.Unmarshal(answer, &one)
		if err != nil {
			return err
		}
		rows = append(rows, one)
	} else {
		var body map[string]json.RawMessage
		err := json.Unmarshal(answer, &body)
		if err == nil {
			err = json.Unmarshal(body[list], &rows)
		}
		if err != nil {
			return err
		}
	}
	if len(rows) == 0 {
		fmt.Fprintln(t.out, "none")
		return nil
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.ToUpper(strings.Join(columns, "\t")))
	for _, row := range rows {
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = cell(row[c])
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// cell prints one JSON value in a table.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = cell(e)
		}
		return strings.Join(parts, " ")
	case string:
		if v == "" {
			return "-"
		}
		return strings.Map(visible, v)
	}
	return fmt.Sprint(v)
}

// visible replaces what a terminal obeys. The server takes no such names any more, but
// an older row or an import may have one.
func visible(r rune) rune {
	if unicode.IsControl(r) {
		return unicode.ReplacementChar
	}
	return r
}
