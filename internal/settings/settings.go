// Package settings owns the strict reading of what operators write: the
// server's configuration and the manifests, both TOML, and the environment and
// flags over the configuration.
//
//	Parse ──▶ Document ──▶ Decode ──▶ a struct, its Places, and every Problem
//
// Reading is strict because a setting that is silently ignored is worse than
// one that is refused: an unknown key, a value of another type and a number out
// of range are each one Problem that says where, what, why and how to mend it.
// A syntax error stops there, since everything after it would be a guess; all
// other problems are collected, so that one run shows them all.
//
// It does not own what any setting means: the rules are those of the room that
// declares the struct. Values of secrets never enter a Problem.
package settings

import (
	"fmt"
	"strings"
)

// Source is where a value was written. The zero Source is "nowhere": the value
// is the default.
type Source struct {
	// File and Line are set for a value of a TOML file; Line counts from 1.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Env is the name of an environment variable, Flag of a flag without dashes.
	Env  string `json:"env,omitempty"`
	Flag string `json:"flag,omitempty"`
}

// Default reports whether nobody wrote the value.
func (s Source) Default() bool { return s == Source{} }

// String is the source as an error names it: file:line, the variable, the flag.
func (s Source) String() string {
	switch {
	case s.Flag != "":
		return "--" + s.Flag
	case s.Env != "":
		return s.Env
	case s.Line > 0:
		return fmt.Sprintf("%s:%d", s.File, s.Line)
	case s.File != "":
		return s.File
	}
	return "the default"
}

// Problem is one thing that is wrong or doubtful, complete enough to mend it
// without reading the manual.
type Problem struct {
	// Code names the rule (HF101), for searching and for docs.
	Code string `json:"code"`
	// Warning: the house runs anyway.
	Warning bool `json:"warning,omitempty"`
	// At is where the offending value was written.
	At Source `json:"at"`
	// Key is the setting's name; Value is what was written there, "" when it
	// would repeat a secret or there is none.
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
	// Doubt is the path of a setting that does not have the value somebody meant
	// it to have: one that could not be read, or the one that a misspelt key was
	// probably meant to be. What a rule then finds about it is not worth telling.
	Doubt string `json:"-"`
	// Reason says what is wrong, Mend what to write instead.
	Reason string `json:"reason"`
	Mend   string `json:"mend,omitempty"`
}

// String is the problem on one line:
//
//	holdfast.toml:3: access_lifetime = "14d": reason; mend [HF101]
func (p Problem) String() string {
	var b strings.Builder
	if !p.At.Default() {
		b.WriteString(p.At.String() + ": ")
	}
	if p.Warning {
		b.WriteString("warning: ")
	}
	if p.Key != "" && p.Value != "" {
		b.WriteString(p.Key + " = " + p.Value + ": ")
	} else if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Reason)
	if p.Mend != "" {
		b.WriteString("; " + p.Mend)
	}
	if p.Code != "" {
		b.WriteString(" [" + p.Code + "]")
	}
	return b.String()
}

// Error implements error for a problem that travels alone.
func (p Problem) Error() string { return p.String() }

// Problems is everything found in one reading, in the order of reading. It is
// an error when any of them is one; see Err.
type Problems []Problem

// Error lists the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Split parts the errors from the warnings.
func (ps Problems) Split() (errs, warnings Problems) {
	for _, p := range ps {
		if p.Warning {
			warnings = append(warnings, p)
		} else {
			errs = append(errs, p)
		}
	}
	return errs, warnings
}

// Doubted are the paths of settings whose values are not what somebody meant.
func (ps Problems) Doubted() map[string]bool {
	all := map[string]bool{}
	for _, p := range ps {
		if p.Doubt != "" {
			all[p.Doubt] = true
		}
	}
	return all
}

// Err is nil when there are only warnings, else the errors as one error.
func (ps Problems) Err() error {
	errs, _ := ps.Split()
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// The codes of the problems this room finds by itself.
const (
	CodeSyntax     = "HF100" // the file is not TOML
	CodeUnknownKey = "HF110" // a key that nobody reads
	CodeSecretFile = "HF115" // a file of secrets that others can read, or that cannot be read
	CodeValue      = "HF116" // a value of another type or shape than the setting has
	CodeUnknownEnv = "HF120" // a HOLDFAST_ variable that nobody reads
	CodeSecretFlag = "HF122" // a secret on the command line, or in a place it may not stand
)

// Rule is a line of the reference: a code and what it refuses.
type Rule struct{ Code, Says string }

// Rules lists the codes of this room for the reference.
func Rules() []Rule {
	return []Rule{
		{CodeSyntax, "The file is not valid TOML. Reading stops here."},
		{CodeUnknownKey, "Unknown key. Nothing is silently ignored."},
		{CodeSecretFile, "A file that holds a secret must be a small regular file that other users of the machine cannot read."},
		{CodeValue, "The value has another type or shape than the setting."},
		{CodeUnknownEnv, "Warning: a HOLDFAST_ variable that no setting reads."},
		{CodeSecretFlag, "Secrets come from files or the environment, never from the command line, which every user of the machine can see."},
	}
}
