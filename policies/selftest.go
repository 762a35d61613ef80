package policies

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/tester"
)

// TestResult is the outcome of one Rego test.
type TestResult struct {
	Name   string // package and rule
	File   string
	Line   int
	Failed bool
	Err    error // the test could not be evaluated
	Output string
}

// testTimeout bounds one Rego test.
const testTimeout = 10 * time.Second

// Test runs the set's own *_test.rego and returns the results by name.
func Test(ctx context.Context, set Set) ([]TestResult, error) {
	modules, data, err := set.parse()
	if err != nil {
		return nil, err
	}
	if _, err := parseClasses(data); err != nil {
		return nil, err
	}
	var results []TestResult
	store := newStore(data)
	err = storage.Txn(ctx, store, storage.TransactionParams{}, func(txn storage.Transaction) error {
		done, err := tester.NewRunner().
			SetCompiler(newCompiler().WithEnablePrintStatements(true)).
			SetStore(store).
			SetModules(modules).
			SetTimeout(testTimeout).
			RaiseBuiltinErrors(true).
			CapturePrintOutput(true).
			RunTests(ctx, txn)
		if err != nil {
			return fmt.Errorf("%w: compile tests: %w", ErrPolicy, err)
		}
		for r := range done {
			results = append(results, newTestResult(r))
		}
		return nil
	})
	slices.SortFunc(results, func(a, b TestResult) int { return strings.Compare(a.Name, b.Name) })
	return results, err
}

func newTestResult(r *tester.Result) TestResult {
	return TestResult{
		Name: r.Package + "." + r.Name, File: location(r.Location).File, Line: location(r.Location).Row,
		Failed: !r.Pass(), Err: r.Error, Output: string(r.Output),
	}
}

func location(l *ast.Location) ast.Location {
	if l == nil {
		return ast.Location{}
	}
	return *l
}

// Load compiles set and runs its tests: what it returns may serve admissions.
func Load(ctx context.Context, set Set, options ...Option) (*Engine, error) {
	engine, err := Compile(ctx, set, options...)
	if err != nil {
		return nil, err
	}
	results, err := Test(ctx, set)
	if err != nil {
		return nil, err
	}
	for _, r := range results {
		if r.Failed {
			return nil, fmt.Errorf("%w: %s:%d: test %s failed: %s%v", ErrPolicy, r.File, r.Line, r.Name, r.Output, errText(r.Err))
		}
	}
	return engine, nil
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
