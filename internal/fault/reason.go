package fault

// Reason says why a session ended or a token was refused. One closed list is
// used in the audit, the metric session_ended_total, the Holdfast-Reason header
// and the APIs (design.md section 3), so that the person, the app and the
// operator read the same word.
type Reason string

// Reasons that end a session.
const (
	SignedOut          Reason = "signed_out"           // by this device
	SignedOutElsewhere Reason = "signed_out_elsewhere" // by the user, from another device
	Everywhere         Reason = "everywhere"           // sign-out everywhere
	Replaced           Reason = "replaced"             // the same install signed in again
	PasswordChanged    Reason = "password_changed"
	PasswordReset      Reason = "password_reset"
	Disabled           Reason = "disabled" // the account, by an operator
	Deleted            Reason = "deleted"  // the account
	ClientStopped      Reason = "client_stopped"
	ConsentWithdrawn   Reason = "consent_withdrawn"
	Reuse              Reason = "reuse" // a spent refresh token was used by someone
	Held               Reason = "held"  // as reuse, and the owner may prove himself
	Idle               Reason = "idle"
	Absolute           Reason = "absolute"
	Operator           Reason = "operator"
	KeyCompromise      Reason = "key_compromise"
)

// Reasons of refusals that end nothing.
const (
	Late        Reason = "late"       // an answer that a newer one overtook; repeat
	Superseded  Reason = "superseded" // an old token, too old to mean theft
	WrongClient Reason = "wrong_client"
	WrongKey    Reason = "wrong_key"
	Malformed   Reason = "malformed"
)

var ends = []Reason{SignedOut, SignedOutElsewhere, Everywhere, Replaced, PasswordChanged, PasswordReset, Disabled,
	Deleted, ClientStopped, ConsentWithdrawn, Reuse, Held, Idle, Absolute, Operator, KeyCompromise}

var refusals = []Reason{Late, Superseded, WrongClient, WrongKey, Malformed}

// Ends lists the reasons that end a session; Refusals those that end nothing.
func Ends() []Reason     { return append([]Reason(nil), ends...) }
func Refusals() []Reason { return append([]Reason(nil), refusals...) }

// Sentence says the reason to the person who holds the device.
func (r Reason) Sentence() string { return sentences[r] }

var sentences = map[Reason]string{
	SignedOut:          "You signed out on this device.",
	SignedOutElsewhere: "You signed this device out from another device.",
	Everywhere:         "You signed out everywhere.",
	Replaced:           "This app signed in again, which replaced the earlier sign-in.",
	PasswordChanged:    "The password was changed.",
	PasswordReset:      "The password was reset.",
	Disabled:           "The account is disabled.",
	Deleted:            "The account was deleted.",
	ClientStopped:      "This app may no longer sign in here.",
	ConsentWithdrawn:   "You withdrew this app's access.",
	Reuse:              "A sign-in token of this device was used twice, as if it had been copied. The device was signed out to be safe.",
	Held:               "A sign-in token of this device was used twice, as if it had been copied. Prove that it is you to go on.",
	Idle:               "This device was not used for too long.",
	Absolute:           "The sign-in reached its longest allowed life.",
	Operator:           "An operator signed this device out.",
	KeyCompromise:      "The server's keys were replaced after an incident.",
	Late:               "A newer answer is on its way to this device. Try again.",
	Superseded:         "This token was replaced long ago.",
	WrongClient:        "This token belongs to another app.",
	WrongKey:           "This token is bound to another key.",
	Malformed:          "This is not a token of this server.",
}
