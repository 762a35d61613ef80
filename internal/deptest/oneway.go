package deptest

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// OneWay fails the test where files of the package under test need each other,
// directly or round about: so that who reads a file down finds what it calls
// below it, and what it does without all that calls it. Types and fields are what
// files share, and don't count.
func OneWay(t *testing.T) {
	t.Helper()
	uses := references(t, load(t))
	for _, from := range slices.Sorted(maps.Keys(uses)) {
		for _, to := range slices.Sorted(maps.Keys(uses[from])) {
			if leads(uses, to, from, map[string]bool{}) {
				names := slices.Sorted(maps.Keys(uses[from][to]))
				t.Errorf("%s needs %s of %s, which needs %s again", from, strings.Join(names, ", "), to, from)
			}
		}
	}
}

// graph holds the names that a file needs of another.
type graph map[string]map[string]map[string]bool

func leads(uses graph, from, to string, seen map[string]bool) bool {
	if from == to {
		return true
	}
	seen[from] = true
	for next := range uses[from] {
		if !seen[next] && leads(uses, next, to, seen) {
			return true
		}
	}
	return false
}

// sources are the files of a package, checked as far as they can be without what
// they import: what they need of each other is known then.
type sources struct {
	files *token.FileSet
	info  types.Info
	pkg   *types.Package
}

func load(t *testing.T) sources {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	s := sources{files: token.NewFileSet(), info: types.Info{Uses: map[*ast.Ident]types.Object{}}}
	var parsed []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(s.files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, file)
	}
	check := types.Config{Importer: nothing{}, Error: func(error) {}}
	s.pkg, _ = check.Check("", s.files, parsed, &s.info)
	return s
}

// nothing imports no package.
type nothing struct{}

func (nothing) Import(string) (*types.Package, error) { return nil, errors.New("not imported") }

func references(t *testing.T, s sources) graph {
	t.Helper()
	out := graph{}
	for id, object := range s.info.Uses {
		if object.Pkg() != s.pkg || !acts(object, s.pkg) {
			continue
		}
		from, to := s.files.Position(id.Pos()).Filename, s.files.Position(object.Pos()).Filename
		if from == to {
			continue
		}
		if out[from] == nil {
			out[from] = map[string]map[string]bool{}
		}
		if out[from][to] == nil {
			out[from][to] = map[string]bool{}
		}
		out[from][to][object.Name()] = true
	}
	if len(s.info.Uses) == 0 {
		t.Fatal("no source was read")
	}
	return out
}

// acts reports whether an object is a function, a method, or a value of the package.
func acts(object types.Object, pkg *types.Package) bool {
	switch object.(type) {
	case *types.Func:
		return true
	case *types.Const, *types.Var:
		return object.Parent() == pkg.Scope()
	}
	return false
}
