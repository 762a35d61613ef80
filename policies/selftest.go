package policies

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/detnet/detnet/workload"
)

// TestResult is the outcome of one Rego test.
type TestResult struct {
	Name   string `json:"name"` // package and rule
	File   string `json:"file"`
	Line   int    `json:"line"`
	Failed bool   `json:"failed,omitempty"`
	Error  string `json:"error,omitempty"` // why it could not be evaluated
	Output string `json:"output,omitempty"`

	slow bool // it was ended: it took longer than testTimeout
}

// testTimeout bounds one Rego test.
const testTimeout = 10 * time.Second

// TestReport is the outcome of a set's tests.
type TestReport struct {
	Results []TestResult `json:"results"` // by name
	// Coverage is the share of the rules' lines that the tests reached, in
	// percent.
	Coverage float64 `json:"coverage"`
}

// Test runs the set's own *_test.rego.
func Test(ctx context.Context, set Set) (TestReport, error) {
	modules, data, err := set.parse()
	if err != nil {
		return TestReport{}, err
	}
	if _, err := set.parseClasses(data); err != nil {
		return TestReport{}, err
	}
	var results []TestResult
	store := newStore(data)
	coverage := cover.New()
	err = storage.Txn(ctx, store, storage.TransactionParams{}, func(txn storage.Transaction) error {
		done, err := tester.NewRunner().
			SetCompiler(newCompiler().WithEnablePrintStatements(true)).
			SetStore(store).
			SetModules(modules).
			SetTimeout(testTimeout).
			RaiseBuiltinErrors(true).
			CapturePrintOutput(true).
			SetCoverageQueryTracer(coverage).
			RunTests(ctx, txn)
		if err != nil {
			return set.advise(err)
		}
		for r := range done {
			results = append(results, newTestResult(r))
		}
		return nil
	})
	slices.SortFunc(results, func(a, b TestResult) int { return strings.Compare(a.Name, b.Name) })
	maps.DeleteFunc(modules, func(name string, _ *ast.Module) bool { return strings.HasSuffix(name, "_test.rego") })
	return TestReport{results, coverage.Report(modules).Coverage}, err
}

func newTestResult(r *tester.Result) TestResult {
	return TestResult{
		Name: r.Package + "." + r.Name, File: location(r.Location).File, Line: location(r.Location).Row,
		Failed: !r.Pass(), Error: errText(r.Error), Output: string(r.Output),
		slow: topdown.IsCancel(r.Error),
	}
}

func location(l *ast.Location) ast.Location {
	if l == nil {
		return ast.Location{}
	}
	return *l
}

// Load compiles set, runs its tests and tries it on a plain pod of each class:
// what it returns may serve admissions.
func Load(ctx context.Context, set Set) (*Engine, error) {
	engine, err := Compile(ctx, set)
	if err != nil {
		return nil, err
	}
	report, err := Test(ctx, set)
	if err != nil {
		return nil, err
	}
	for _, r := range report.Results {
		if r.Failed {
			err := fmt.Errorf("%w: %s:%d: test %s failed: %s", ErrPolicy, r.File, r.Line, r.Name, r.Reason())
			if tip := set.replacing(); tip != "" {
				err = fmt.Errorf("%w\n\t%s", err, tip)
			}
			if r.slow {
				err = fmt.Errorf("%w: %w, more than %v", err, ErrSlow, testTimeout)
			}
			return nil, err
		}
	}
	return engine, engine.tryOut(ctx)
}

// Reason is why a test failed.
func (r TestResult) Reason() string {
	if text := r.Error + r.Output; text != "" {
		return text
	}
	return "a line of it does not hold; print(x) in the test shows values"
}

// tryOut decides on a pod of each class and on one without: a mistake that
// concerns them all is not to wait for the first pod.
func (e *Engine) tryOut(ctx context.Context) error {
	for _, class := range append(sortedKeys(e.classes), "") {
		labels := map[string]any{"app": "trial"}
		if class != "" {
			labels[workload.LabelPriority] = class
		}
		_, err := e.Decide(ctx, Input{
			Pod: Object{"metadata": map[string]any{"name": "trial", "labels": labels}, "spec": map[string]any{
				"containers": []any{map[string]any{"name": "c", "image": "i", "ports": []any{map[string]any{"containerPort": json.Number("80")}}}},
			}},
			Namespace: Namespace{Name: "default", Labels: map[string]string{workload.LabelAllowCritical: "true"}},
			Operation: "CREATE",
		})
		if err != nil {
			return fmt.Errorf("a plain pod with the priority %q: %w", class, err)
		}
	}
	return nil
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
