package house

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDirectDependencies holds go.mod against docs/dependencies.md: each direct
// dependency has one line there that says why, and no line is left over.
func TestDirectDependencies(t *testing.T) {
	declared := map[string]bool{}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		name, rest, ok := strings.Cut(line, " ")
		if ok && strings.HasPrefix(rest, "v") && !strings.Contains(rest, "// indirect") {
			declared[name] = true
		}
	}
	doc, err := os.Open(filepath.Join(root, "docs/dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	defer doc.Close()
	reasons := map[string]bool{}
	for sc := bufio.NewScanner(doc); sc.Scan(); {
		cells := strings.Split(sc.Text(), "|")
		if len(cells) < 4 || !strings.Contains(cells[1], "`") {
			continue
		}
		name := strings.Trim(strings.TrimSpace(cells[1]), "`")
		reasons[name] = true
		if !declared[name] {
			t.Errorf("docs/dependencies.md gives a reason for %s, which is no direct dependency", name)
		}
		if len(strings.TrimSpace(cells[2])) < 20 {
			t.Errorf("docs/dependencies.md: the reason for %s is not a reason", name)
		}
	}
	for name := range declared {
		if !reasons[name] {
			t.Errorf("%s is a direct dependency without a line in docs/dependencies.md that says why", name)
		}
	}
}
