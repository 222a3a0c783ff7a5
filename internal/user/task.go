package user

// task is one piece of password work: verify Encoded, or, when that is empty,
// make a hash of Cost and Salt. It carries passwords in the clear, so it lives
// only between a Hasher and the end of its pipe and is never printed.
type task struct {
	Encoded string         `json:"encoded,omitempty"`
	Cost    Cost           `json:"cost,omitzero"`
	Salt    [saltSize]byte `json:"salt,omitzero"`
	// Passwords are the spellings to try; the first is the one to hash.
	Passwords [][]byte `json:"passwords"`
}

// answer is what came of a task.
type answer struct {
	Hash    string `json:"hash,omitempty"`
	Matches bool   `json:"matches,omitempty"`
	// Whole: the hash looked at all of the password.
	Whole bool `json:"whole,omitempty"`
}

// do works. An unreadable hash matches nothing.
func (t task) do() (a answer) {
	if t.Encoded == "" {
		return answer{Hash: newArgon2(string(t.Passwords[0]), t.Cost, t.Salt).String()}
	}
	s, err := parseHash(t.Encoded)
	if err != nil {
		return answer{}
	}
	for _, p := range t.Passwords {
		a.Matches, a.Whole = s.matches(p)
		if a.Matches {
			break
		}
	}
	return a
}

// valid reports whether the task can be done at all.
func (t task) valid() bool {
	return len(t.Passwords) > 0 && (t.Encoded != "" || t.Cost.Memory > 0 && t.Cost.Passes > 0 && t.Cost.Lanes > 0)
}
