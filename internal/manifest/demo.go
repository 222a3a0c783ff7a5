package manifest

import (
	_ "embed"

	"holdfast.example/internal/client"
)

//go:embed demo.toml
var demo []byte

// DemoAdmin is the operator that the demo manifest declares without a password:
// the server generates one at its first start and prints it.
const DemoAdmin = "admin"

// Demo is the manifest of `holdfast dev`.
func Demo(s client.Server) (Manifest, error) {
	s.Dev = true
	m, _, err := Parse("the demo manifest", demo, Options{Server: s})
	return m, err
}

// DemoText is the demo manifest as it is written, to copy from.
func DemoText() string { return string(demo) }
