package edx

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/form"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/user"
)

// caller is who asks, and what he may be shown of himself.
type caller struct {
	user user.User
	// email and name: a third-party app sees what it was granted. An app of the
	// house sees both, whatever it asked for: its users sign in with an exchange that
	// grants nothing.
	email, name bool
}

// caller finds out who asks: by the header, which is final; else by the two halves
// of a JWT in cookies, which fail without a word, and by the web session.
func (d *Door) caller(r *http.Request) (caller, error) {
	c, ok, err := presented(r.Header)
	if err != nil {
		return caller{}, err
	}
	if ok {
		b, err := d.bearer(r.Context(), c)
		if err != nil {
			return caller{}, err
		}
		return d.person(r, b)
	}
	return d.visitor(r)
}

// visitor is a caller who brought cookies alone.
func (d *Door) visitor(r *http.Request) (caller, error) {
	var page, web *caller
	head, sig := form.Cookie(r, payloadCookie, maxCookie), form.Cookie(r, signatureCookie, maxCookie)
	if !head.Empty() && !sig.Empty() {
		b, err := d.Issuer.Shown(r.Context(), secret.New(head.Reveal()+"."+sig.Reveal()))
		if err == nil {
			p, err := d.person(r, b)
			if err != nil {
				return caller{}, err
			}
			page = &p
		} else if !fault.Is(err, fault.InvalidToken) {
			return caller{}, err
		}
	}
	if t := form.Cookie(r, sessionCookie, maxCookie); !t.Empty() {
		w, err := d.Issuer.Web(r.Context(), t)
		if err == nil {
			web = &caller{w.User, true, true}
		} else if !fault.Is(err, fault.InvalidToken) {
			return caller{}, err
		}
	}
	switch {
	case page != nil && web != nil && page.user.ID != web.user.ID:
		return caller{}, &refusal{http.StatusUnauthorized, detail{"Invalid token."}, fault.New(fault.InvalidToken, "the cookies are of two users")}
	case page != nil:
		return *page, nil
	case web != nil:
		return *web, nil
	}
	return caller{}, notProvided()
}

// person is the user behind a good token.
func (d *Door) person(r *http.Request, b grant.Bearer) (caller, error) {
	no := func(words string) error {
		return &refusal{http.StatusForbidden, detail{words}, fault.New(fault.Forbidden, words)}
	}
	c, _ := d.Issuer.Clients.Get(b.Access.Client)
	switch {
	case b.User.IsZero():
		return caller{}, no("You do not have permission to perform this action.")
	case c.Restricted: // no endpoint here names a scope that would open it
		return caller{}, no("JWT missing required scopes.")
	}
	u, err := d.Issuer.Users.Get(r.Context(), b.User)
	if err != nil {
		return caller{}, err
	}
	scopes := strings.Fields(b.Access.Scope)
	return caller{u, c.FirstParty || slices.Contains(scopes, "email"), c.FirstParty || slices.Contains(scopes, "profile")}, nil
}

// mobileBody is what an app asks right after every sign-in.
type mobileBody struct {
	ID       int64  `json:"id"`
	Username string `json:"username"`
	Email    string `json:"email"`
	Name     string `json:"name"`
	Courses  string `json:"course_enrollments"`
}

// myUserInfo tells an app whose token it holds. The original redirects to the
// user's own address; the answer is here at once.
func (d *Door) myUserInfo(w http.ResponseWriter, r *http.Request) { d.mobile(w, r, "") }

// mobileUser is the same at the user's own address.
func (d *Door) mobileUser(w http.ResponseWriter, r *http.Request) {
	d.mobile(w, r, r.PathValue("username"))
}

func (d *Door) mobile(w http.ResponseWriter, r *http.Request, whose string) {
	c, err := d.named(r, whose)
	if err != nil {
		d.turnAway(w, r, schemeJWT, err)
		return
	}
	b := mobileBody{ID: c.user.Integer(), Username: c.user.Username,
		Courses: d.Issuer.Minter.Issuer + "/api/mobile/v0.5/users/" + url.PathEscape(c.user.Username) + "/course_enrollments/"}
	if c.email {
		b.Email = c.user.Email
	}
	if c.name {
		b.Name = c.user.Name
	}
	answer.JSON(w, http.StatusOK, b)
}

// named is the caller, who asks about himself. Somebody else is as unknown as
// nobody.
func (d *Door) named(r *http.Request, whose string) (caller, error) {
	c, err := d.caller(r)
	if err == nil && whose != "" && user.Canonical(whose) != user.Canonical(c.user.Username) {
		err = &refusal{http.StatusNotFound, detail{"Not found."}, fault.New(fault.NotFound, "not the caller's own account")}
	}
	return c, err
}

// accountBody is what pages and apps show of the signed-in user. What this server
// does not keep is there and empty, because readers do not ask whether it is.
type accountBody struct {
	ID         int64     `json:"id"`
	Username   string    `json:"username"`
	Name       string    `json:"name"`
	Email      string    `json:"email"`
	Active     bool      `json:"is_active"`
	Joined     string    `json:"date_joined"`
	Privacy    string    `json:"account_privacy"`
	Image      imageBody `json:"profile_image"`
	Languages  []string  `json:"language_proficiencies"`
	Social     []string  `json:"social_links"`
	Consent    bool      `json:"requires_parental_consent"`
	Bio        *string   `json:"bio"`
	Country    *string   `json:"country"`
	Education  *string   `json:"level_of_education"`
	Gender     *string   `json:"gender"`
	Goals      *string   `json:"goals"`
	Address    *string   `json:"mailing_address"`
	BirthYear  *int      `json:"year_of_birth"`
	Secondary  *string   `json:"secondary_email"`
	VerifiedAs *string   `json:"verified_name"`
}

type imageBody struct {
	Has bool `json:"has_image"`
}

// account is the caller's own account.
func (d *Door) account(w http.ResponseWriter, r *http.Request) {
	c, err := d.named(r, r.PathValue("username"))
	if err != nil {
		d.turnAway(w, r, schemeJWT, err)
		return
	}
	u := c.user
	b := accountBody{ID: u.Integer(), Username: u.Username, Active: u.EmailVerified, Joined: httpDate(u.CreatedAt), Privacy: "private",
		Languages: []string{}, Social: []string{}}
	if c.email {
		b.Email = u.Email
	}
	if c.name {
		b.Name = u.Name
	}
	answer.JSON(w, http.StatusOK, b)
}
