// Package policies decides by Rego what a pod gets from detnet: its class, its
// bandwidth, its SLO and its Cilium policies. It is the only package that
// imports OPA. A Set of files is compiled once into an Engine, whose Decide
// reads neither disk nor network; an Engine never changes, a reload makes a
// new one.
//
// Decide returns an error only where it could not evaluate. A pod the policy
// refuses is a Decision with Deny set.
package policies

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

// query is the one rule the engine asks for.
const query = "data.detnet.decision"

// maxDecision bounds an evaluation whose caller gives no deadline of its own, as
// while a set is loaded.
const maxDecision = 3 * time.Second

// ErrPolicy marks a policy set that is at fault: it does not compile, or its
// decision is missing, contradictory or not usable. The error names the place.
var ErrPolicy = errors.New("policy")

// ErrSlow marks an evaluation that took longer than it may, beside ErrPolicy. The set is at fault
// if it does so again: on a machine that stood still or has no time, any set does.
var ErrSlow = errors.New("it took too long")

// Engine is a compiled policy set. It is safe for concurrent use.
type Engine struct {
	set     Set
	hash    string
	classes map[string]classSpec
	rules   *ruleCache
	site    siteRules
	query   rego.PreparedEvalQuery
	options []rego.EvalOption
}

// WithoutIndexing is an engine that evaluates every rule instead of those OPA's
// rule index selects. It is slow and serves tests as the oracle of the index.
func (e *Engine) WithoutIndexing() *Engine {
	plain := *e
	plain.options = append(slices.Clone(e.options), rego.EvalRuleIndexing(false))
	return &plain
}

// Compile prepares set for evaluation. Its error names file, line and reason.
func Compile(ctx context.Context, set Set) (*Engine, error) {
	modules, data, err := set.parse()
	if err != nil {
		return nil, err
	}
	classes, err := set.parseClasses(data)
	if err != nil {
		return nil, err
	}
	e := &Engine{set: set, hash: set.Hash(), classes: classes, rules: newRuleCache(), site: siteRulesOf(modules)}
	if err := e.checkSite(modules); err != nil {
		return nil, err
	}
	compiler := newCompiler()
	if compiler.Compile(modules); compiler.Failed() {
		return nil, set.advise(compiler.Errors)
	}
	if err := set.checkReferences(compiler.Modules, data); err != nil {
		return nil, err
	}
	if err := checkPackages(compiler.Modules); err != nil {
		return nil, err
	}
	if err := checkInput(modules, compiler.Modules); err != nil {
		return nil, err
	}
	prepared, err := rego.New(
		rego.Query(query),
		rego.Compiler(compiler),
		rego.Store(newStore(data)),
		rego.StrictBuiltinErrors(true),
		rego.GenerateJSON(keepAST),
	).PrepareForEval(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: prepare %s: %w", ErrPolicy, query, err)
	}
	e.query = prepared
	return e, nil
}

// keepAST hands the result over as it is: Decide reads it without a detour
// through JSON.
func keepAST(t *ast.Term, _ *rego.EvalContext) (any, error) { return t.Value, nil }

// newStore keeps the data as AST values, so that no evaluation converts them.
func newStore(data map[string]any) storage.Store {
	return inmem.NewFromObjectWithOpts(data, inmem.OptReturnASTValuesOnRead(true), inmem.OptRoundTripOnWrite(false))
}

// forbidden builtins would make a decision depend on more than its input: an
// admission must neither wait for the network nor differ between replicas.
var forbidden = []string{"http.send", "net.lookup_ip_addr", "opa.runtime", "rand.intn", "uuid.rfc4122"}

func newCompiler() *ast.Compiler {
	allowed := ast.CapabilitiesForThisVersion()
	allowed.Builtins = slices.DeleteFunc(allowed.Builtins, func(b *ast.Builtin) bool {
		return slices.Contains(forbidden, b.Name)
	})
	return ast.NewCompiler().WithCapabilities(allowed)
}

// Hash identifies the policy set; equal sets have equal hashes on every
// replica.
func (e *Engine) Hash() string { return e.hash }

// Set returns the files the engine was compiled from.
func (e *Engine) Set() Set { return e.set }

// Decide evaluates the policy for one pod. The result has been validated: its
// class is known, its quantities are in range, its Cilium policies are ones
// that Cilium accepts.
func (e *Engine) Decide(ctx context.Context, in Input) (Decision, error) {
	asks, problems := readAsks(in.Pod, in.Namespace.Annotations)
	w := declaredBy(in.Pod)
	value, err := in.value(asks, w)
	if err != nil {
		return Decision{}, err
	}
	options := append([]rego.EvalOption{rego.EvalParsedInput(value)}, e.options...)
	bounded, cancel := ctx, context.CancelFunc(func() {})
	if _, ok := ctx.Deadline(); !ok {
		bounded, cancel = context.WithTimeout(ctx, maxDecision)
	}
	defer cancel()
	results, err := e.query.Eval(bounded, options...)
	if err != nil {
		return Decision{}, e.evaluationError(ctx, err)
	}
	if len(results) != 1 {
		return Decision{}, fmt.Errorf("%w %s: %s is undefined for this pod: give it a last \"else\" or a default, or put your rules into package detnet.site and leave decision.rego to detnet", ErrPolicy, e.hash, query)
	}
	result, _ := results[0].Expressions[0].Value.(ast.Value)
	d, err := e.decide(result, asks, w, in)
	if err != nil {
		return Decision{}, e.decisionError(err)
	}
	d.PolicyHash = e.hash
	d.Problems = slices.Concat(problems, e.misspelt(in))
	return d, nil
}

// decide turns the value of the decision rule into one that may be used.
func (e *Engine) decide(v ast.Value, a asks, w declared, in Input) (Decision, error) {
	d, err := e.decode(v)
	if err != nil || d.Class == "" {
		return d, err
	}
	class, ok := e.classes[d.Class]
	if !ok {
		return d, fmt.Errorf("class: %w", noClass(d.Class, e.classes))
	}
	class.settle(&d, a, w, in)
	rendered, err := e.workloadPolicy(d, w, in.Pod)
	if err != nil {
		return d, fmt.Errorf("networkPolicies: %w", err)
	}
	d.NetworkPolicies = overlay(rendered, d.NetworkPolicies)
	d.Warnings = append(append(d.Warnings, a.shortfalls(d, in.Namespace)...), d.unenforced()...)
	return d, d.validate()
}
