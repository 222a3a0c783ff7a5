package main

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/alecthomas/kong"

	"holdfast.example/internal/server"
	"holdfast.example/internal/settings"
)

// settingFlags are the flags of all settings that have no field of their own in a
// command. They are made from the settings, so that a new setting has its flag.
type settingFlags struct {
	kong.Plugins `group:"Settings, as docs/reference/configuration.md tells them, over file and environment:"`
}

// newSettingFlags makes a flag of every setting that may be one, except some.
func newSettingFlags(except ...string) settingFlags {
	var fields []reflect.StructField
	for _, f := range settings.Fields(server.Config{}) {
		name := f.Flag()
		if name == "" || f.EnvOnly || slices.Contains(except, f.Name) {
			continue
		}
		fields = append(fields, reflect.StructField{Name: f.Go, Type: reflect.TypeFor[*string](), // nil: not given
			Tag: reflect.StructTag(fmt.Sprintf(`name:"%s" help:"Setting %s." placeholder:"VALUE"`, name, f.Name))})
	}
	return settingFlags{kong.Plugins{reflect.New(reflect.StructOf(fields)).Interface()}}
}

// given are the flags that were written, by name.
func (s settingFlags) given() map[string]string {
	all := map[string]string{}
	for _, p := range s.Plugins {
		v := reflect.ValueOf(p).Elem()
		for _, f := range settings.Fields(server.Config{}) {
			one := v.FieldByName(f.Go)
			if one.IsValid() && !one.IsNil() {
				all[f.Flag()] = one.Elem().String()
			}
		}
	}
	return all
}
