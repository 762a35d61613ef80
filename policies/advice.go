package policies

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// What to do about OPA's errors, by their code.
var advice = map[string]string{
	ast.ParseErr:        "is a bracket, a quote or the word \"if\" missing in this line or the one before?",
	ast.UnsafeVarErr:    "nothing gives it a value: import what it names (import data.detnet.site), or mend its spelling",
	ast.RecursionErr:    "a rule can't depend on itself: data.detnet.class comes from detnet.site's class, which can't read it",
	topdown.ConflictErr: "two rules give it different values for this pod: have their conditions exclude each other, or chain them with else",
	topdown.BuiltinErr:  "check the builtin's arguments in the rule first, as with is_string or regex.match",
}

// maxErrors is how many of OPA's errors are shown: the first is the cause more
// often than not.
const maxErrors = 3

// advise says what OPA found and what to do about it. What it found in the
// site's own files comes first: an error in a default file follows from them.
func (s Set) advise(err error) error {
	var all ast.Errors
	if single := (*ast.Error)(nil); errors.As(err, &single) {
		all = ast.Errors{single}
	} else if !errors.As(err, &all) {
		return fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	shipped := Default()
	own := func(e *ast.Error) bool { return e.Location != nil && s[e.Location.File] != shipped[e.Location.File] }
	var tip string
	if slices.ContainsFunc(all, own) {
		all = slices.DeleteFunc(slices.Clone(all), func(e *ast.Error) bool { return !own(e) })
		tip = advice[all[0].Code]
		if strings.Contains(all[0].Message, "undefined function") {
			tip = "no such builtin for policies: those that reach the network or differ between replicas are left out"
		}
	} else {
		tip = s.replacing()
	}
	if all[0].Code == ast.RecursionErr {
		all = all[:1] // the others are the same circle, entered elsewhere
	}
	var lines []string
	for _, e := range all[:min(len(all), maxErrors)] {
		lines = append(lines, e.Error())
	}
	if more := len(all) - maxErrors; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	text := strings.Join(lines, "\n")
	if tip != "" {
		text += "\n\t" + tip
	}
	return fmt.Errorf("%w: %s", ErrPolicy, text)
}

// replaced are the shipped files that the site has its own version of.
func (s Set) replaced() []string {
	var out []string
	for name, content := range Default() {
		if s[name] != content {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// evaluationError says why the decision could not be evaluated.
func (e *Engine) evaluationError(ctx context.Context, err error) error {
	if ctx.Err() != nil { // the caller's time is up, which need not be the policy's fault
		return fmt.Errorf("evaluate policy %s: %w%s", e.hash, ctx.Err(), e.site.where())
	}
	if topdown.IsCancel(err) {
		return fmt.Errorf("%w %s: evaluate: %w, more than %v%s: some rule goes through too many values, or the machine has no time", ErrPolicy, e.hash, ErrSlow, maxDecision, e.site.where())
	}
	var tip string
	if inner := (*topdown.Error)(nil); errors.As(err, &inner) && advice[inner.Code] != "" {
		tip = "\n\t" + advice[inner.Code]
	}
	return fmt.Errorf("%w %s: evaluate: %w%s", ErrPolicy, e.hash, err, tip)
}

// decisionError says which rules gave the value that can't be used.
func (e *Engine) decisionError(err error) error {
	field, _, _ := strings.Cut(err.Error(), ":")
	return fmt.Errorf("%w %s: %s: %w%s", ErrPolicy, e.hash, query, err, e.site.where(field))
}

// replacing is the advice where shipped files are replaced, "" where none is.
func (s Set) replacing() string {
	replaced := s.replaced()
	if len(replaced) == 0 {
		return ""
	}
	return fmt.Sprintf("%s replaces the file of that name that detnet ships, on which others rely: put your rules into package detnet.site, in a file of another name", strings.Join(replaced, " and "))
}
