package settings

import (
	"reflect"
	"slices"
	"strings"

	"holdfast.example/internal/secret"
)

// Prefix begins the name of every environment variable of ours.
const Prefix = "HOLDFAST_"

// Field is one setting as a struct declares it.
type Field struct {
	// Name is the key in the file.
	Name string
	// Go is the name of the struct's field.
	Go   string
	Type reflect.Type
	// Secret: never shown, and never a flag unless the tag flag:"checked" says
	// that the room itself refuses a secret there. EnvOnly: not in the file either.
	Secret, EnvOnly bool
	checked         bool
	index           int
}

// Env is the environment variable of the setting: its key in capitals.
func (f Field) Env() string { return Prefix + strings.ToUpper(f.Name) }

// Flag is the setting's flag: its key with dashes. Secrets have none.
func (f Field) Flag() string {
	if f.Secret && !f.checked {
		return ""
	}
	return strings.ReplaceAll(f.Name, "_", "-")
}

// Fields lists the settings of the struct that v is or points to, in order.
func Fields(v any) []Field {
	t := reflect.TypeOf(v)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return fieldsOf(t)
}

type fieldList []Field

func fieldsOf(t reflect.Type) fieldList {
	var all fieldList
	for f := range t.Fields() {
		name := f.Tag.Get("toml")
		if name == "" {
			continue
		}
		all = append(all, Field{Name: name, Go: f.Name, Type: f.Type, Secret: isSecret(f.Type),
			EnvOnly: f.Tag.Get("source") == "env", checked: f.Tag.Get("flag") == "checked", index: f.Index[0]})
	}
	return all
}

func isSecret(t reflect.Type) bool {
	return t == reflect.TypeFor[secret.Text]() || t == reflect.TypeFor[*secret.Text]()
}

func (fs fieldList) find(name string) (Field, bool) {
	i := slices.IndexFunc(fs, func(f Field) bool { return f.Name == name })
	if i < 0 {
		return Field{}, false
	}
	return fs[i], true
}

func (fs fieldList) names() []string {
	all := make([]string, len(fs))
	for i, f := range fs {
		all[i] = f.Name
	}
	return all
}

// Overlay sets the struct that dst points to from the environment and then from
// flags, which win. env has the form of os.Environ; variables without Prefix are
// not ours, and those in others are known to somebody else. Flags are named as
// Field.Flag says. Lists are written with commas. Places are added to.
func Overlay(dst any, places Places, env, others []string, flags map[string]string) Problems {
	o := overlay{into: reflect.ValueOf(dst).Elem(), places: places}
	o.fields = fieldsOf(o.into.Type())
	o.environment(env, others)
	o.flags(flags)
	return o.problems
}

type overlay struct {
	into     reflect.Value
	fields   fieldList
	places   Places
	problems Problems
}

func (o *overlay) environment(env, others []string) {
	known := slices.Clone(others)
	for _, f := range o.fields {
		known = append(known, f.Env())
	}
	for _, pair := range env {
		name, text, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, Prefix) || slices.Contains(others, name) {
			continue
		}
		from := Source{Env: name}
		i := slices.IndexFunc(o.fields, func(f Field) bool { return f.Env() == name })
		if i < 0 {
			o.problems = append(o.problems, Problem{Code: CodeUnknownEnv, Warning: true, At: from,
				Reason: "no setting reads this variable", Mend: didYouMean(name, known, "unset it if it was meant for this server")})
			continue
		}
		o.set(o.fields[i], text, from)
	}
}

func (o *overlay) flags(flags map[string]string) {
	names := make([]string, 0, len(flags))
	for name := range flags {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		from := Source{Flag: name}
		i := slices.IndexFunc(o.fields, func(f Field) bool { return strings.ReplaceAll(f.Name, "_", "-") == name })
		switch {
		case i < 0:
			o.problems = append(o.problems, Problem{Code: CodeUnknownKey, At: from, Doubt: Suggest(name, o.fields.names()), Reason: "no setting has this flag",
				Mend: didYouMean(name, o.fields.names(), "see the reference of settings")})
		case o.fields[i].Flag() == "":
			o.problems = append(o.problems, Problem{Code: CodeSecretFlag, At: from, Doubt: o.fields[i].Name,
				Reason: "a secret on the command line can be read by every user of this machine", Mend: "set " + o.fields[i].Env() + " or use a file"})
		default:
			o.set(o.fields[i], flags[name], from)
		}
	}
}

// set writes one text into one field. An empty variable is the same as an
// absent one in many shells, but here it is a value: it can turn a setting off.
func (o *overlay) set(f Field, text string, from Source) {
	into := o.into.Field(f.index)
	parts := []string{text}
	if isList(f.Type) {
		parts = splitList(text)
		into.Set(reflect.MakeSlice(f.Type, len(parts), len(parts)))
	}
	o.places[f.Name] = from
	for i, part := range parts {
		to := into
		if isList(f.Type) {
			to = into.Index(i)
		}
		if to.Kind() == reflect.Pointer {
			to.Set(reflect.New(to.Type().Elem()))
			to = to.Elem()
		}
		err := setText(to, part)
		if err != nil {
			p := Problem{Code: CodeValue, At: from, Key: f.Name, Doubt: f.Name, Reason: err.Error(), Mend: "write " + wants(f.Type)}
			if !f.Secret {
				p.Value = shorten(part)
			}
			o.problems = append(o.problems, p)
		}
	}
}

func splitList(s string) []string {
	var parts []string
	for p := range strings.SplitSeq(s, ",") {
		if p = strings.TrimSpace(p); p != "" {
			parts = append(parts, p)
		}
	}
	return parts
}
