package house

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated pages anew")

// list is one list of checks and the page that is made of it.
type list struct {
	file, page, head string
}

var (
	standards = list{"testdata/rows.txt", "docs/reference/standards.md", pageHead}
	// compatibility is what clients of the servers we replace expect byte by byte.
	compatibility = list{"testdata/compatibility.txt", "docs/reference/compatibility.md", compatibilityHead}
)

// A test names the rows it holds in its comment or its subtests: "TOKEN-01",
// "TOKEN-01..04, 06", "A07", "contract 1.3 rows 1, 4..6". Rows of the standards
// have no dash.
var (
	dashed   = regexp.MustCompile(`\b([A-Z]{3,8})-(\d\d)((?:\.\.\d\d)?(?:, ?\d\d(?:\.\.\d\d)?\b)*)`)
	plain    = regexp.MustCompile(`\b(AD|JW|RS|[A-Z])(\d\d)(?:\.\.(?:AD|JW|RS|[A-Z])?(\d\d))?\b`)
	contract = regexp.MustCompile(`\bcontract (\d\.\d+) rows? (\d+(?:\.\.\d+)?(?:, \d+(?:\.\.\d+)?)*)`)
	slashed  = regexp.MustCompile(`^(\d\.\d+)/(\d+(?:\.\.\d+)?)$`)
	parts    = regexp.MustCompile(`(\d+)(?:\.\.(\d+))?`)
	number   = regexp.MustCompile(`(\d\d)(?:\.\.(\d\d))?`)
	testFn   = regexp.MustCompile(`(?ms)((?:^//[^\n]*\n)*)^func (Test\w+|Fuzz\w+)\(.*?^}`)
)

// rowsIn lists the rows that a text names.
func rowsIn(text string) map[string]bool {
	found := map[string]bool{}
	add := func(format, prefix, from, to string) {
		a, _ := strconv.Atoi(from)
		b, err := strconv.Atoi(to)
		if err != nil {
			b = a
		}
		for n := a; n <= b; n++ {
			found[fmt.Sprintf(format, prefix, n)] = true
		}
	}
	for _, m := range dashed.FindAllStringSubmatch(text, -1) {
		for _, n := range number.FindAllStringSubmatch(m[2]+m[3], -1) {
			add("%s-%02d", m[1], n[1], n[2])
		}
	}
	for _, m := range append(contract.FindAllStringSubmatch(text, -1), slashed.FindAllStringSubmatch(text, -1)...) {
		for _, n := range parts.FindAllStringSubmatch(m[2], -1) {
			add("%s/%d", m[1], n[1], n[2])
		}
	}
	for _, m := range plain.FindAllStringSubmatch(text, -1) {
		add("%s%02d", m[1], m[2], m[3])
	}
	return found
}

// tests is every test of the repository, other modules included: its folder, and
// the rows it names.
type test struct {
	dir  string
	rows map[string]bool
}

// byName is every test by its name, which several may share.
type byName map[string][]test

func allTests(t *testing.T) byName {
	t.Helper()
	found := byName{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, filepath.Dir(path))
		for _, m := range testFn.FindAllSubmatch(text, -1) {
			found[string(m[2])] = append(found[string(m[2])], test{filepath.ToSlash(rel), rowsIn(string(m[0]))})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// row is one line of the list.
type row struct {
	names        []string // as many as its range has
	shown        string
	words, later string
	by           []string
}

// section is a heading and its rows.
type section struct {
	title string
	rows  []row
}

func listed(t *testing.T, file string) (all []section) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := strings.TrimSpace(sc.Text())
		if title, ok := strings.CutPrefix(line, "## "); ok {
			all = append(all, section{title: title})
			continue
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var r row
		var rest string
		r.shown, rest, _ = strings.Cut(line, " ")
		r.names = slices.Sorted(maps.Keys(rowsIn(r.shown)))
		rest, by, _ := strings.Cut(rest, "; by ")
		r.by = strings.Fields(by)
		if why, ok := strings.CutPrefix(rest, "later: "); ok {
			r.later = why
		} else {
			r.words, r.later, _ = strings.Cut(rest, "; later: ")
		}
		if len(r.names) == 0 || len(all) == 0 {
			t.Fatalf("%s: no row in %q", file, line)
		}
		all[len(all)-1].rows = append(all[len(all)-1].rows, r)
	}
	return all
}

// TestRows holds the list of checks against the tests: a row that should be
// tested is, every test it is said to be tested by exists, and no test names a
// row of the catalogue that is not listed. It makes docs/reference/standards.md.
func TestRows(t *testing.T) {
	tests := allTests(t)
	known := tests.hold(t, standards)
	for name, all := range tests {
		for _, one := range all {
			for r := range one.rows {
				if strings.Contains(r, "-") && !known[r] && slices.ContainsFunc(slices.Collect(maps.Keys(known)), func(k string) bool {
					return strings.HasPrefix(k, r[:strings.Index(r, "-")+1])
				}) {
					t.Errorf("%s in %s names %s, which is in no list", name, one.dir, r)
				}
			}
		}
	}
}

// TestRowsOfCompatibility does the same for what clients of other servers expect, and
// makes docs/reference/compatibility.md.
func TestRowsOfCompatibility(t *testing.T) {
	tests := allTests(t)
	known := tests.hold(t, compatibility)
	for name, all := range tests {
		for _, one := range all {
			for r := range one.rows {
				if strings.Contains(r, "/") && !known[r] {
					t.Errorf("%s in %s names %s, which is in no list", name, one.dir, r)
				}
			}
		}
	}
}

// hold holds one list against the tests, makes its page, and returns its rows.
func (tests byName) hold(t *testing.T, l list) map[string]bool {
	t.Helper()
	sections := listed(t, l.file)
	known := map[string]bool{}
	var page bytes.Buffer
	page.WriteString(l.head)
	for _, s := range sections {
		fmt.Fprintf(&page, "\n## %s\n\n| row | what is held | tests |\n|---|---|---|\n", s.title)
		for _, r := range s.rows {
			for _, name := range r.names {
				if known[name] {
					t.Errorf("%s is listed twice", name)
				}
				known[name] = true
			}
			held := holding(t, r, tests)
			if r.words != "" && len(held) == 0 {
				t.Errorf("%s (%s) is held by no test", r.shown, r.words)
			}
			words := r.words
			if r.later != "" {
				words = strings.TrimPrefix(words+"; *later: "+r.later+"*", "; ")
			}
			fmt.Fprintf(&page, "| %s | %s | %s |\n", r.shown, words, strings.Join(held, ", "))
		}
	}
	file := filepath.Join(root, l.page)
	if *update {
		if err := os.WriteFile(file, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	is, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range outdated(string(is), page.String()) {
		t.Errorf("%s: %s; run `go test ./internal/house -run TestRows -update`", l.page, wrong)
	}
	return known
}

// outdated tells what a page says that is not so. A test that the page does not
// name yet is no lie.
func outdated(is, should string) (wrong []string) {
	cells := func(line string) (row, words string, tests []string) {
		c := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| ") || len(c) != 3 || c[0] == "| row" {
			return line, "", nil
		}
		dir := ""
		for _, w := range strings.FieldsFunc(strings.TrimSuffix(c[2], "|"), func(r rune) bool { return r == ' ' || r == ',' }) {
			if name, ok := strings.CutSuffix(w, ":"); ok {
				dir = name
			} else {
				tests = append(tests, dir+": "+w)
			}
		}
		return c[0], c[1], tests
	}
	right, seen := map[string]string{}, map[string]bool{}
	for line := range strings.Lines(should) {
		row, _, _ := cells(strings.TrimSpace(line))
		right[row] = strings.TrimSpace(line)
	}
	for line := range strings.Lines(is) {
		row, words, tests := cells(strings.TrimSpace(line))
		rowWant, wordsWant, held := cells(right[row])
		seen[row] = true
		if row != rowWant || words != wordsWant {
			wrong = append(wrong, "not so: "+strings.TrimSpace(line))
		}
		for _, one := range tests {
			if !slices.Contains(held, one) {
				wrong = append(wrong, row+" is not held by "+one)
			}
		}
	}
	for row := range right {
		if !seen[row] {
			wrong = append(wrong, "nothing about "+row)
		}
	}
	return wrong
}

// holding lists the tests that hold a row, as the page shows them.
func holding(t *testing.T, r row, tests byName) []string {
	t.Helper()
	byDir := map[string][]string{}
	for name, all := range tests {
		for _, one := range all {
			if slices.ContainsFunc(r.names, func(n string) bool { return one.rows[n] }) || slices.Contains(r.by, name) {
				byDir[one.dir] = append(byDir[one.dir], name)
			}
		}
	}
	for _, name := range r.by {
		if len(tests[name]) == 0 {
			t.Errorf("%s is said to be held by %s, which does not exist", r.shown, name)
		}
	}
	var shown []string
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		slices.Sort(byDir[dir])
		shown = append(shown, fmt.Sprintf("%s: %s", strings.TrimPrefix(dir, "internal/"), strings.Join(slices.Compact(byDir[dir]), " ")))
	}
	return shown
}

const pageHead = `# Checks and the tests that hold them

Made by ` + "`go test ./internal/house -run TestRows -update`" + ` from the list of checks and the
tests that name them; a check that should be tested and is not fails that test.

CHAIN are the properties of the refresh chain ([chain.md](chain.md)), INV what must hold under every
fault. The rows of attacks have a dash in their names, those of the standards have none: A is OAuth
2.1, D discovery, V revocation, I introspection, J access tokens, JW JOSE, O OpenID Connect, Y RFC
9700, RS resource servers, AD the operators' API. *Later* says what a row waits for.
`

const compatibilityHead = `# What clients of other servers may rely on

Made by ` + "`go test ./internal/house -run TestRows -update`" + ` from the list of what the apps, pages and
services of an Open edX, of django-oauth-toolkit and of simplejwt expect and the tests that name it; a
line that should be tested and is not fails that test. Where we differ on purpose, and why, is
[adr/0014](../adr/0014-open-edx-differences.md) and [adr/0018](../adr/0018-simplejwt-differences.md).

The rows of a section are counted in the order of this page. *Later* says what a row waits for.
`
