package main

import (
	"os"
	"testing"

	"holdfast.example/internal/client"
	"holdfast.example/internal/manifest"
	"holdfast.example/internal/server"
	"holdfast.example/internal/settings"
)

// budget is the largest number of settings the house allows itself.
const budget = 40

func TestReferenceIsCurrent(t *testing.T) {
	want, err := reference("../config.go")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../docs/reference/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/reference/configuration.md is not what the code says; run go generate ./internal/server")
	}
}

func TestSettingsStayWithinBudget(t *testing.T) {
	if n := len(settings.Fields(server.Config{})); n > budget {
		t.Errorf("%d settings; %d is the budget", n, budget)
	}
}

func TestCodesAreUniqueInTheirTable(t *testing.T) {
	tables := map[string][]settings.Rule{"settings": settings.Rules(), "config": server.ConfigRules(), "manifest": manifest.Rules()}
	for _, r := range client.Rules() {
		tables["client"] = append(tables["client"], settings.Rule(r))
	}
	for name, rules := range tables {
		seen := map[string]bool{}
		for _, r := range rules {
			if seen[r.Code] || r.Says == "" || len(r.Code) != 5 {
				t.Errorf("%s: %+v is doubled or incomplete", name, r)
			}
			seen[r.Code] = true
		}
	}
}
