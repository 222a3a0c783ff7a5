package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "holdfast.example/"
	root   = "../.."
)

// room is what a package of ours may import of ours. An arrow that is not
// listed is refused; why says what the list protects.
type room struct {
	may []string
	why string
}

// rooms is the import table of the house (docs/adr/0001-names-of-rooms.md).
// Arrows point down only: a room never knows who uses it.
var rooms = map[string]room{
	"internal/secret":          {nil, "a secret must be usable everywhere, so it knows nothing"},
	"internal/fault":           {nil, "every room fails, so the words of failing depend on nothing"},
	"internal/audit":           {[]string{"fault", "id"}, "the account of what happened does not know how it happened"},
	"internal/id":              {nil, "names are shared by rooms that must not know each other"},
	"internal/house":           {nil, "rules are not part of the house"},
	"internal/history":         {nil, "a proof about the whole house is made of tests alone"},
	"internal/edxclients":      {nil, "a proof about the whole house is made of tests alone"},
	"internal/form":            {[]string{"fault", "secret"}, "reading a body means nothing yet"},
	"internal/cors":            {nil, "who may read an answer does not depend on what is answered"},
	"internal/cursor":          {[]string{"fault"}, "a place in a list is sealed without knowing what is listed"},
	"internal/answer":          {[]string{"fault"}, "how an answer is put on the wire does not depend on what it says"},
	"internal/breach":          {nil, "a list of hashes is searched without knowing what was hashed"},
	"internal/problem":         {[]string{"answer", "fault"}, "how JSON doors read and refuse is the same whatever they are for"},
	"internal/idem":            {[]string{"fault"}, "remembering an answer must not depend on what was asked"},
	"internal/limit":           {[]string{"fault"}, "counting attempts must not depend on what is attempted"},
	"internal/limit/limittest": {[]string{"limit"}, "one exercise for everything that keeps budgets"},
	"internal/once":            {[]string{"fault"}, "what is spent once must not depend on what it proves"},
	"internal/journal":         {[]string{"audit", "client", "fault", "feed", "id", "key", "session", "user"}, "a journal follows the record and lets the changes of rooms wait for it"},
	"internal/archive":         {[]string{"fault", "feed", "id", "key", "secret"}, "a backup knows tables and keys, and no database"},
	"internal/key":             {[]string{"audit", "feed", "fault", "id", "secret"}, "keys do not know what they sign or seal"},
	"internal/feed":            {[]string{"audit", "fault", "id"}, "the record does not know what ends, only that it ended"},
	"internal/user":            {[]string{"audit", "fault", "id", "secret"}, "an account does not know its devices"},
	"internal/client":          {[]string{"audit", "feed", "fault", "id", "secret"}, "a registration does not know what is made of it"},
	"internal/upstream":        {[]string{"audit", "fault", "id", "secret"}, "what a provider says is proved without knowing what it earns"},
	"internal/upstream/fake":   {nil, "a pretended provider knows no rule it could bend"},
	"internal/token":           {[]string{"fault", "id", "secret", "key", "verify"}, "tokens encode and decode; they decide nothing"},
	"internal/session": {[]string{"audit", "fault", "id", "secret", "feed", "token"},
		"the life of a sign-in must be readable without accounts, clients, HTTP or SQL"},
	"internal/settings": {[]string{"fault", "secret"}, "reading a file strictly means nothing yet"},
	"internal/manifest": {[]string{"fault", "id", "secret", "settings", "client", "user"}, "a manifest declares clients and users, nothing more"},
	"internal/grant": {[]string{"audit", "fault", "id", "secret", "client", "user", "limit", "once", "upstream", "feed", "session", "token"},
		"a grant is policy: no HTTP, no SQL, no keys of its own"},
	"internal/door/oauth": {[]string{"answer", "audit", "fault", "id", "secret", "form", "cors", "client", "key", "grant"},
		"a door parses, calls, renders: never a store, never another door"},
	"internal/door/edx": {[]string{"answer", "audit", "fault", "id", "secret", "form", "cors", "client", "user", "token", "grant"},
		"a door parses, calls, renders: never a store, never another door"},
	"internal/door/web": {[]string{"answer", "audit", "fault", "id", "secret", "form", "cors", "problem", "client", "grant"},
		"a door parses, calls, renders: never a store, never another door"},
	"internal/door/pair": {[]string{"answer", "fault", "id", "secret", "form", "cors", "client", "grant"},
		"a door parses, calls, renders: never a store, never another door"},
	"docs/reference/openapi": {nil, "a description is text"},
	"internal/door/account": {[]string{"answer", "audit", "fault", "id", "secret", "form", "cors", "problem", "cursor", "session", "grant", "docs/reference/openapi"},
		"a door parses, calls, renders: never a store, never another door"},
	"internal/door/admin": {[]string{"audit", "fault", "id", "secret", "problem", "cursor", "client", "user", "upstream", "key", "idem", "session", "grant", "settings", "docs/reference/openapi"},
		"a door parses, calls, renders: never a store, never another door"},
	"internal/server": {[]string{"audit", "fault", "id", "secret", "breach", "settings", "client", "user", "limit", "key", "feed", "session", "token",
		"idem", "once", "upstream", "upstream/fake", "grant", "manifest", "door/oauth", "door/account", "door/admin", "door/edx", "door/pair", "door/web", "verify"},
		"the server wires rooms over store interfaces; only cmd knows which store"},
	"internal/server/refgen":   {[]string{"settings", "client", "manifest", "server"}, "a generator reads the tables of rules and writes one page"},
	"internal/store/sqlite":    {[]string{"audit", "fault", "id", "secret", "session", "user", "client", "key", "feed", "idem", "once", "upstream", "archive"}, "a store keeps what the rooms describe and decides nothing"},
	"internal/store/postgres":  {[]string{"audit", "fault", "id", "secret", "session", "user", "client", "key", "feed", "idem", "archive", "limit", "once", "upstream"}, "a store keeps what the rooms describe and decides nothing"},
	"internal/store/redis":     {[]string{"secret", "limit"}, "what is lost without loss, and nothing else"},
	"internal/testsvc":         {nil, "only tests import it; it knows services, not rooms"},
	"internal/store/storetest": {[]string{"audit", "fault", "id", "secret", "session", "user", "client", "key", "feed", "idem", "once", "upstream", "token"}, "one exercise for every database"},
	"cmd/holdfast":             {[]string{"fault", "id", "secret", "settings", "manifest", "server", "store/sqlite", "store/postgres", "store/redis", "key", "user", "archive", "journal"}, "flags, exit codes, and the choice of a store"},
}

// clock lists the rooms that may read the clock: the shells. Everybody else
// is given the time.
var clock = []string{"cmd/", "internal/server", "bench/"}

// goFile is one parsed file of ours.
type goFile struct {
	dir, path string
	test      bool
	ast       *ast.File
}

// files parses every Go file of this module. Folders with a go.mod of their own
// are other modules.
func files(t *testing.T) []goFile {
	t.Helper()
	var all []goFile
	set := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "holdfast-data" || name == "node_modules") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && path != root {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		all = append(all, goFile{filepath.ToSlash(filepath.Dir(rel)), filepath.ToSlash(rel), strings.HasSuffix(path, "_test.go"), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d Go files found below %s: the rules look at nothing", len(all), root)
	}
	return all
}

func TestImportTable(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range files(t) {
		r, known := rooms[f.dir]
		if !known && (f.dir == "bench" || strings.HasPrefix(f.dir, "bench/")) {
			continue // measures the house from outside
		}
		if !known {
			t.Errorf("%s: the room %s is not in the import table; say what it may import and why", f.path, f.dir)
			continue
		}
		seen[f.dir] = true
		if f.test {
			continue // a test may build whatever it needs around its room
		}
		for _, i := range f.ast.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			ours, ok := strings.CutPrefix(path, module)
			if !ok || ours == f.dir {
				continue
			}
			if !slices.Contains(r.may, strings.TrimPrefix(ours, "internal/")) {
				t.Errorf("%s imports %s, which %s may not: %s", f.path, ours, f.dir, r.why)
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(rooms)) {
		if !seen[dir] {
			t.Errorf("the import table names %s, which has no Go files", dir)
		}
	}
}

func TestEveryPackageSaysWhatItOwns(t *testing.T) {
	docs := map[string]string{}
	for _, f := range files(t) {
		if !f.test {
			docs[f.dir] += f.ast.Doc.Text()
		}
	}
	for dir, doc := range docs {
		switch {
		case doc == "":
			t.Errorf("%s has no package comment", dir)
		case strings.HasPrefix(dir, "internal/") && !(strings.Contains(doc, "owns") && strings.Contains(doc, "not own")):
			t.Errorf("the package comment of %s must say what the room owns and what it does not own", dir)
		}
	}
}

func TestForbiddenNames(t *testing.T) {
	forbidden := []string{"util", "utils", "common", "helper", "helpers", "core", "service", "services", "manager", "model",
		"models", "types", "handlers", "controller", "controllers", "dto", "misc", "shared"}
	for _, f := range files(t) {
		for _, part := range strings.Split(strings.TrimSuffix(strings.TrimSuffix(f.path, ".go"), "_test"), "/") {
			if slices.Contains(forbidden, part) {
				t.Errorf("%s: %q names no thing; name it by what it is", f.path, part)
			}
		}
	}
}

func TestTimeIsAParameter(t *testing.T) {
	for _, f := range files(t) {
		if f.test || slices.ContainsFunc(clock, func(p string) bool { return strings.HasPrefix(f.path, p) }) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := sel.X.(*ast.Ident)
			if ok && pkg.Name == "time" && slices.Contains([]string{"Now", "Since", "Until"}, sel.Sel.Name) {
				t.Errorf("%s reads the clock with time.%s; take the time as a parameter or a Now field", f.path, sel.Sel.Name)
			}
			return true
		})
	}
}

func TestNoGlobalState(t *testing.T) {
	for _, f := range files(t) {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s has an init function; make the thing where it is wired", f.path)
			}
		}
	}
}
