package program

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// logs are the methods of slog that take keys and values.
var logs = regexp.MustCompile(`^((Debug|Info|Warn|Error)(Context)?|Log|With)$`)

// Errors have one key in all logs: the one that the API machinery's own lines have.
func TestErrorsHaveOneKeyInLogs(t *testing.T) {
	files, calls := token.NewFileSet(), 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "../.." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if method, ok := call.Fun.(*ast.SelectorExpr); !ok || !logs.MatchString(method.Sel.Name) {
				return true
			}
			for _, arg := range call.Args {
				if key, ok := arg.(*ast.BasicLit); ok && key.Kind == token.STRING {
					if calls++; key.Value == `"error"` {
						t.Errorf(`%s: the key of an error is "err"`, files.Position(key.Pos()))
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls < 100 {
		t.Errorf("only %d keys and messages seen: does the test look at the repository?", calls)
	}
}
