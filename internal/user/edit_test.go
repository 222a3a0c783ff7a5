package user

import (
	"errors"
	"testing"

	"holdfast.example/internal/fault"
)

func TestEdit(t *testing.T) {
	d, m := newDirectory(t)
	u := must(t, d, Declared{Username: "a@x.org", Email: ptr("a@x.org"), EmailVerified: ptr(true)})
	got, err := d.Edit(t.Context(), u.ID, Edit{Email: ptr("b@x.org"), Profile: Profile{Name: ptr("B")}, Version: 1})
	if err != nil || got.Username != "b@x.org" || got.Email != "b@x.org" || got.EmailVerified || got.Name != "B" || got.Version != 2 || got != m.get(u.ID) {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = d.Edit(t.Context(), u.ID, Edit{Username: ptr("bea"), EmailVerified: ptr(true)})
	if err != nil || got.Username != "bea" || !got.EmailVerified || got.Version != 3 || got.Epoch != u.Epoch {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := d.Edit(t.Context(), u.ID, Edit{Username: ptr("bea")}); err != nil || got.Version != 3 {
		t.Errorf("an edit that changes nothing: %+v, %v", got, err)
	}
	_, err = d.Edit(t.Context(), u.ID, Edit{Username: ptr("bee"), Version: 2})
	if !fault.Is(err, fault.Conflict) || !errors.Is(err, ErrChanged) {
		t.Errorf("an old version: %v", err)
	}
	for name, bad := range map[string]Edit{
		"no name":            {Username: ptr("")},
		"somebody's address": {Username: ptr("c@x.org")},
		"bad address":        {Email: ptr("b@")},
		"verified nothing":   {Email: ptr(""), EmailVerified: ptr(true)},
		"control in name":    {Profile: Profile{Name: ptr("B\x1b[2J")}},
	} {
		if _, err := d.Edit(t.Context(), u.ID, bad); !fault.Is(err, fault.InvalidRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, d, Declared{Username: "carl"})
	if _, err := d.Edit(t.Context(), u.ID, Edit{Username: ptr("CARL")}); !fault.Is(err, fault.Conflict) || errors.Is(err, ErrChanged) {
		t.Errorf("a name that is taken: %v", err)
	}
}
