package storetest

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/user"
)

func exerciseUsers(t *testing.T, open func(*testing.T) Bundle) {
	t.Run("read back", func(t *testing.T) { userReadBack(t, open) })
	t.Run("taken", func(t *testing.T) { userTaken(t, open) })
	t.Run("replace", func(t *testing.T) { userReplace(t, open) })
	t.Run("list", func(t *testing.T) { userList(t, open) })
	t.Run("remove", func(t *testing.T) { userRemove(t, open) })
	t.Run("race of one name", func(t *testing.T) { userRace(t, open) })
}

func userReadBack(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	full := account()
	full.Number, full.EmailVerified, full.Staff, full.Superuser, full.Disabled = 1<<40, true, true, true, true
	full.Name, full.GivenName, full.FamilyName = "Ánna O'Brien 👩", "Ánna", "O'Brien"
	full.PasswordHash = "pbkdf2_sha256$870000$salt$" + strings.Repeat("h", 500)
	full.Epoch, full.Version = 17, 4
	bare := user.User{ID: id.NewUser(), Username: "Bare", Version: 1, CreatedAt: day, UpdatedAt: day}
	same := account()
	same.Username = same.Email // one account may use its address as its name
	for name, u := range map[string]user.User{"full": full, "bare": bare, "user name is the e-mail": same} {
		t.Run(name, func(t *testing.T) {
			if err := w.Users.Create(w.ctx, u, nil); err != nil {
				t.Fatal(err)
			}
			byID, err := w.Users.ByID(w.ctx, u.ID)
			if d := cmp.Diff(u, byID); d != "" || err != nil {
				t.Error(err, d)
			}
			for _, login := range []string{u.Username, u.Email} {
				if login == "" {
					continue
				}
				got, err := w.Users.ByLogin(w.ctx, user.Canonical(login))
				if d := cmp.Diff(u, got); d != "" || err != nil {
					t.Errorf("by %q: %v %s", login, err, d)
				}
			}
		})
	}
	for _, login := range []string{"", "nobody", "Bare", "BARE "} { // only canonical forms are looked up
		if _, err := w.Users.ByLogin(w.ctx, login); !errors.Is(err, user.ErrNotFound) {
			t.Errorf("by %q: %v, want ErrNotFound", login, err)
		}
	}
	if _, err := w.Users.ByID(w.ctx, id.NewUser()); !errors.Is(err, user.ErrNotFound) {
		t.Errorf("by an unknown id: %v, want ErrNotFound", err)
	}
}

// userTaken: user names and addresses share one name space.
func userTaken(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	u := w.person()
	for name, change := range map[string]func(*user.User){
		"the user name":                func(o *user.User) { o.Username = u.Username },
		"the user name, shouted":       func(o *user.User) { o.Username = strings.ToUpper(u.Username) + " " },
		"the e-mail":                   func(o *user.User) { o.Email = u.Email },
		"the e-mail as a user name":    func(o *user.User) { o.Username = u.Email },
		"the user name as an e-mail":   func(o *user.User) { o.Email = u.Username },
		"its own id under other names": func(o *user.User) { o.ID = u.ID },
	} {
		t.Run(name, func(t *testing.T) {
			o := account()
			free := []string{user.Canonical(o.Username), user.Canonical(o.Email)}
			change(&o)
			if err := w.Users.Create(w.ctx, o, nil); !errors.Is(err, user.ErrTaken) {
				t.Fatalf("got %v, want ErrTaken", err)
			}
			if got, err := w.Users.ByID(w.ctx, o.ID); o.ID != u.ID && !errors.Is(err, user.ErrNotFound) {
				t.Errorf("the refused account is there: %+v", got)
			}
			for _, login := range free {
				if _, err := w.Users.ByLogin(w.ctx, login); !errors.Is(err, user.ErrNotFound) {
					t.Errorf("%q was claimed by a refused account", login)
				}
			}
		})
	}
}

func userReplace(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	u, other := w.person(), w.person()
	renamed := withVersion(u, 2, 1)
	renamed.Username, renamed.Email, renamed.Name = "Renamed", "renamed@example.com", "New"
	if err := w.Users.Replace(w.ctx, userChange(renamed)); err != nil {
		t.Fatal(err)
	}
	for login, want := range map[string]bool{u.Username: false, u.Email: false, "renamed": true, "renamed@example.com": true} {
		got, err := w.Users.ByLogin(w.ctx, user.Canonical(login))
		if want != (err == nil) || want && cmp.Diff(renamed, got) != "" {
			t.Errorf("by %q: %v %+v", login, err, got)
		}
	}
	swapped := withVersion(renamed, 3, 1) // within one account names may change places
	swapped.Username, swapped.Email = renamed.Email, renamed.Username
	if err := w.Users.Replace(w.ctx, userChange(swapped)); err != nil {
		t.Error(err)
	}
	taken := withVersion(swapped, 4, 1)
	taken.Username, taken.Email, taken.Name = "free-name", other.Email, "Thief"
	if err := w.Users.Replace(w.ctx, userChange(taken)); !errors.Is(err, user.ErrTaken) {
		t.Errorf("an address of somebody else: %v, want ErrTaken", err)
	}
	for name, bad := range map[string]user.User{
		"the version before": withVersion(swapped, 3, 1),
		"a version too far":  withVersion(swapped, 5, 1),
		"a lower epoch":      withVersion(swapped, 4, 0),
		"a higher epoch":     withVersion(swapped, 4, 2),
		"nobody":             withVersion(account(), 2, 1),
	} {
		if err := w.Users.Replace(w.ctx, userChange(bad)); !errors.Is(err, user.ErrChanged) {
			t.Errorf("over %s: %v, want ErrChanged", name, err)
		}
	}
	if got, err := w.Users.ByID(w.ctx, u.ID); err != nil || cmp.Diff(swapped, got) != "" {
		t.Errorf("a refused replacement wrote something: %v\n%s", err, cmp.Diff(swapped, got))
	}
	if _, err := w.Users.ByLogin(w.ctx, "free-name"); !errors.Is(err, user.ErrNotFound) {
		t.Errorf("a refused replacement claimed a name: %v", err)
	}
	if n := len(w.record()); n != 0 {
		t.Errorf("plain replacements recorded %d entries", n)
	}
}

func userList(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	const many = 7
	var want []user.User
	for range many {
		want = append(want, w.person())
	}
	slices.SortFunc(want, func(a, b user.User) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	var got []user.User
	var after id.User
	for {
		page, err := w.Users.List(w.ctx, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) > 3 {
			t.Fatalf("a page of %d, the limit is 3", len(page))
		}
		if len(page) == 0 {
			break
		}
		got, after = append(got, page...), page[len(page)-1].ID
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func userRemove(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	u := w.person()
	s := w.opened(device(u))
	if err := w.RemoveUser(w.ctx, u.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.RemoveUser(w.ctx, u.ID); !errors.Is(err, user.ErrNotFound) {
		t.Errorf("removed twice: %v, want ErrNotFound", err)
	}
	if _, err := w.Users.ByID(w.ctx, u.ID); !errors.Is(err, user.ErrNotFound) {
		t.Errorf("by id: %v", err)
	}
	if all, err := w.Users.List(w.ctx, id.User{}, 10); err != nil || len(all) != 0 {
		t.Errorf("listed: %v %+v", err, all)
	}
	if why := w.why(s.ID); why != fault.Deleted {
		t.Errorf("a session of a removed account: %q, want deleted", why)
	}
	if err := w.Users.Replace(w.ctx, userChange(withVersion(u, u.Version+1, u.Epoch))); !errors.Is(err, user.ErrChanged) {
		t.Errorf("replaced: %v, want ErrChanged", err)
	}
	heir := account()
	heir.Username, heir.Email = u.Username, u.Email
	if err := w.Users.Create(w.ctx, heir, nil); err != nil {
		t.Errorf("its names are not free: %v", err)
	}
}

// userRace: of many accounts with one name, created at once, one is.
func userRace(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	const many = 24
	won := 0
	for _, err := range every(many, func(i int) error {
		u := account()
		if i%2 == 0 {
			u.Username = "wanted"
		} else {
			u.Email = "Wanted"
		}
		return w.Users.Create(w.ctx, u, nil)
	}) {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, user.ErrTaken):
			t.Error(err)
		}
	}
	all, err := w.Users.List(w.ctx, id.User{}, 2*many)
	if won != 1 || err != nil || len(all) != 1 {
		t.Errorf("%d accounts were told yes, %d exist (%v); want one", won, len(all), err)
	}
}
