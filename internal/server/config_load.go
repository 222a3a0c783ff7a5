package server

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"holdfast.example/internal/secret"
	"holdfast.example/internal/settings"
)

// EnvConfig is the environment variable that names the settings file.
const EnvConfig = settings.Prefix + "CONFIG"

// LoadOptions say where settings come from.
type LoadOptions struct {
	// File is the settings file, "" for none.
	File string
	// Env has the form of os.Environ. OtherEnv names variables with our prefix
	// that somebody else reads.
	Env, OtherEnv []string
	// Flags are settings from the command line, by key with dashes.
	Flags map[string]string
	// Dev is holdfast dev, which needs no settings at all.
	Dev bool
	// Mending: an operator's command reads the settings to reach the server. What
	// would stop only the server's start does not stop him from ending a session.
	Mending bool
}

// Load reads the settings: the defaults, the file over them, the environment
// over that, flags over all; and holds them to every rule. The warnings come
// with and without an error; the error is settings.Problems with everything that
// is wrong, or the one syntax error that stopped the reading.
func Load(o LoadOptions) (Config, settings.Problems, error) {
	c := Defaults()
	c.dev, c.mending, c.places = o.Dev, o.Mending, settings.Places{}
	var problems settings.Problems
	if o.File != "" {
		doc, err := settings.ReadFile(o.File)
		if err != nil {
			return Config{}, nil, err
		}
		c.places, problems = doc.Decode(&c)
	}
	problems = append(problems, settings.Overlay(&c, c.places, o.Env, append([]string{EnvConfig}, o.OtherEnv...), o.Flags)...)
	if c.Issuer == "" {
		c.Issuer = "http://" + c.Listen
	}
	if c.dev && !c.places.Written("doors") {
		c.Doors = []string{DoorEdX, "simplejwt /api/token demo-pair", "dot /o", DoorWeb}
	}
	problems = append(problems, c.check(problems.Doubted())...)
	errs, warnings := problems.Split()
	if errs != nil {
		return Config{}, warnings, errs
	}
	return c, warnings, nil
}

// Setting is one setting as it stands, for pages and commands that show the
// configuration.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

// Effective lists every setting with its value and where that was written.
// Secrets are shown as redacted.
func (c Config) Effective() []Setting {
	v := reflect.ValueOf(c)
	var all []Setting
	for _, f := range settings.Fields(c) {
		all = append(all, Setting{Key: f.Name, Value: format(v.FieldByName(f.Go).Interface()), Source: c.Source(f.Name).String()})
	}
	return all
}

// format writes a value as the settings file does, without quotes.
func format(v any) string {
	switch v := v.(type) {
	case secret.Text:
		if v.Empty() {
			return ""
		}
		return v.String()
	case time.Duration:
		return settings.FormatDuration(v)
	case []string:
		return strings.Join(v, ", ")
	default:
		if l := reflect.ValueOf(v); l.Kind() == reflect.Slice {
			parts := make([]string, l.Len())
			for i := range parts {
				parts[i] = fmt.Sprint(l.Index(i).Interface())
			}
			return strings.Join(parts, ", ")
		}
		return fmt.Sprint(v)
	}
}
