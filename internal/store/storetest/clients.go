package storetest

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast.example/internal/client"
	"holdfast.example/internal/id"
	"holdfast.example/internal/key"
)

// fullClient has every field set, also those that do not exist yet.
func fullClient(name id.Client) client.Client {
	var c client.Client
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		fillField(v.Field(i))
	}
	c.ID, c.Version = name, 1
	return c
}

func fillField(f reflect.Value) {
	switch f.Kind() {
	case reflect.String:
		f.SetString("'tëxt\" <&> ☂")
	case reflect.Bool:
		f.SetBool(true)
	case reflect.Int, reflect.Int64:
		f.SetInt(int64(90 * time.Minute))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		f.SetUint(7)
	case reflect.Pointer:
		f.Set(reflect.New(f.Type().Elem()))
		fillField(f.Elem())
	case reflect.Slice:
		f.Set(reflect.MakeSlice(f.Type(), 2, 2))
		fillField(f.Index(0))
		fillField(f.Index(1))
	default:
		panic("storetest: a client field of kind " + f.Kind().String() + " needs a line here")
	}
}

func exerciseClients(t *testing.T, open func(*testing.T) Bundle) {
	w := world{t, open(t), t.Context()}
	all := func() []client.Client {
		t.Helper()
		got, err := w.Clients.All(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	revision := func() uint64 {
		t.Helper()
		n, err := w.Clients.Revision(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	put := func(c client.Client, want error) {
		t.Helper()
		before := revision()
		if err := w.Clients.Put(w.ctx, client.Change{Next: c}); !errors.Is(err, want) {
			t.Errorf("Put version %d: %v, want %v", c.Version, err, want)
		}
		if moved := revision() != before; moved != (want == nil) {
			t.Errorf("after Put with %v the revision moved: %v", want, moved)
		}
	}
	if got := all(); len(got) != 0 {
		t.Errorf("a new database has clients: %+v", got)
	}
	full, bare := fullClient("zebra"), client.Client{ID: "Ant", Version: 1}
	zero := bare
	zero.Version = 0
	put(zero, client.ErrChanged)
	early := bare
	early.Version = 2
	put(early, client.ErrChanged)
	put(full, nil)
	put(bare, nil)
	put(bare, client.ErrChanged)
	if d := cmp.Diff([]client.Client{bare, full}, all()); d != "" {
		t.Error("in order of id:\n" + d)
	}
	changed := full
	changed.Name, changed.Disabled, changed.Scopes, changed.Overlap, changed.Version = "other", false, nil, nil, 2
	put(changed, nil)
	full.Version = 2
	put(full, client.ErrChanged)
	if d := cmp.Diff([]client.Client{bare, changed}, all()); d != "" {
		t.Error(d)
	}
	before := revision()
	if err := w.Clients.Delete(w.ctx, bare.ID, client.Along{}); err != nil {
		t.Fatal(err)
	}
	if revision() == before {
		t.Error("Delete did not move the revision")
	}
	if err := w.Clients.Delete(w.ctx, bare.ID, client.Along{}); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("deleted twice: %v, want ErrNotFound", err)
	}
	if d := cmp.Diff([]client.Client{changed}, all()); d != "" {
		t.Error(d)
	}
	put(bare, nil) // a deleted id can be registered anew, from version 1
	t.Run("race", func(t *testing.T) {
		const many = 16
		won := 0
		for _, err := range every(many, func(int) error {
			return w.Clients.Put(w.ctx, client.Change{Next: client.Client{ID: "raced", Version: 1}})
		}) {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, client.ErrChanged):
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d of %d registrations were told yes, want one", won, many)
		}
	})
}

func exerciseKeys(t *testing.T, open func(*testing.T) Bundle) {
	w := world{t, open(t), t.Context()}
	load := func(want key.Rows) {
		t.Helper()
		got, err := w.Keys.Load(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	load(key.Rows{})
	first := key.Rows{Version: 1, Roll: []byte{0, 1, 2}, Keys: []key.Row{
		{ID: 1, Purpose: key.Sign, Alg: "ES256", KID: "kid", State: key.Current, Wrapped: []byte{0, 255}, CreatedAt: day, ActiveAt: day.Add(time.Hour)},
		{ID: 7, Purpose: key.Seal, State: key.Retired, Wrapped: make([]byte, 3000), CreatedAt: day, ActiveAt: day, RetiredAt: day.Add(time.Hour)},
		{ID: 1<<32 - 1, Purpose: key.Opaque, State: key.Next, Wrapped: []byte("w"), CreatedAt: day},
	}}
	second := key.Rows{Version: 2, Roll: []byte("roll"), Keys: []key.Row{first.Keys[2]}}
	second.Keys[0].State = key.Current
	for _, bad := range []key.Rows{{}, {Version: 2}} {
		if err := w.Keys.Replace(w.ctx, bad); !errors.Is(err, key.ErrChanged) {
			t.Errorf("version %d over none: %v, want ErrChanged", bad.Version, err)
		}
	}
	load(key.Rows{})
	for _, rows := range []key.Rows{first, second} {
		if err := w.Keys.Replace(w.ctx, rows); err != nil {
			t.Fatal(err)
		}
		load(rows)
	}
	if err := w.Keys.Replace(w.ctx, first); !errors.Is(err, key.ErrChanged) {
		t.Errorf("an old version: %v, want ErrChanged", err)
	}
	load(second)
	const many = 16
	won := 0
	for _, err := range every(many, func(i int) error {
		return w.Keys.Replace(w.ctx, key.Rows{Version: 3, Roll: []byte{byte(i)}, Keys: second.Keys})
	}) {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, key.ErrChanged):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d replacements were told yes, want one", won, many)
	}
}
