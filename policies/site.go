package policies

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// siteRules are the rules of package detnet.site, in which a site says what it
// wants otherwise than the default rules.
type siteRules []siteRule

type siteRule struct {
	path  []string  // "bandwidth", "max"; ends before a key that is a variable
	value ast.Value // nil unless it is a constant of this very path
	at    ast.Location
}

// siteFields are the rules of detnet.site that the decision reads, and the keys
// of those that have a fixed set.
var siteFields = func() map[string][]string {
	out := map[string][]string{
		"class": nil, "priorityClassName": nil, "affinity": nil, "labels": nil, "annotations": nil,
		"networkPolicies": nil, "warnings": nil, "deny": nil, "reasons": nil,
	}
	var paths []string
	for _, f := range rateFields {
		paths = append(paths, f.path)
	}
	for _, f := range textFields {
		paths = append(paths, f.path)
	}
	for _, path := range append(paths, "bandwidth.weight", "bandwidth.priority") {
		if name, key, nested := strings.Cut(path, "."); nested {
			out[name] = append(out[name], key)
		} else {
			out[name] = nil
		}
	}
	return out
}()

var sitePackage = ast.MustParseRef("data.detnet.site")

// siteRulesOf lists the rules, else branches included, in the order of the files.
func siteRulesOf(modules map[string]*ast.Module) siteRules {
	var out siteRules
	for _, name := range sortedKeys(modules) {
		if !modules[name].Package.Path.Equal(sitePackage) {
			continue
		}
		for _, rule := range modules[name].Rules {
			for r := rule; r != nil; r = r.Else {
				ref := r.Head.Ref()
				found := siteRule{path: names(ref), at: location(r.Location)}
				if len(found.path) == len(ref) && r.Head.Value != nil && ast.IsConstant(r.Head.Value.Value) {
					found.value = r.Head.Value.Value
				}
				out = append(out, found)
			}
		}
	}
	return out
}

// names is the constant beginning of a reference.
func names(ref ast.Ref) []string {
	var out []string
	for i, term := range ref {
		switch v := term.Value.(type) {
		case ast.String:
			out = append(out, string(v))
		case ast.Var:
			if i > 0 {
				return out
			}
			out = append(out, string(v))
		default:
			return out
		}
	}
	return out
}

// where names the places of the rules called name, or of all.
func (s siteRules) where(name ...string) string {
	var places []string
	for _, r := range s {
		if len(name) == 0 || r.path[0] == name[0] {
			places = append(places, fmt.Sprintf("%s:%d", r.at.File, r.at.Row))
		}
	}
	if len(places) == 0 {
		return ""
	}
	return " (rules in " + strings.Join(slices.Compact(places), ", ") + ")"
}

// checkSite finds what no pod's decision could hold before there is a pod: keys
// that do not exist, constants that can't be used, rules that nothing reads
// because their name is misspelt.
func (e *Engine) checkSite(modules map[string]*ast.Module) error {
	for _, r := range e.site {
		if err := e.checkRule(r, modules); err != nil {
			return fmt.Errorf("%w: %s:%d: %s: %w", ErrPolicy, r.at.File, r.at.Row, strings.Join(r.path, "."), err)
		}
	}
	return nil
}

func (e *Engine) checkRule(r siteRule, modules map[string]*ast.Module) error {
	name := r.path[0]
	keys, known := siteFields[name]
	if !known {
		if tip := didYouMean(name, slices.Collect(maps.Keys(siteFields))); tip != "" && !isRead(name, modules) {
			return fmt.Errorf("nothing reads this rule%s", tip)
		}
		return nil // a helper
	}
	if keys != nil && len(r.path) > 1 && !slices.Contains(keys, r.path[1]) {
		return fmt.Errorf("there is no such key, only %s%s", strings.Join(keys, ", "), didYouMean(r.path[1], keys))
	}
	if r.value == nil {
		return nil
	}
	if name == "class" {
		class, err := text(r.value)
		if _, ok := e.classes[class]; err == nil && !ok && class != "" {
			err = noClass(class, e.classes)
		}
		return err
	}
	if list := slices.Contains([]string{"warnings", "deny", "reasons"}, name); list {
		if err := items(r.value, func(ast.Value) error { return nil }); err != nil {
			return fmt.Errorf("%w: write %s contains \"why\" if {…}", err, name)
		}
	}
	_, err := e.decode(asDecision(r))
	return bareField(err, r.path)
}

// asDecision is a decision that holds the rule's value alone.
func asDecision(r siteRule) ast.Value {
	value := ast.NewTerm(r.value)
	if r.path[0] == "networkPolicies" {
		if len(r.path) < 2 {
			return ast.NewObject()
		}
		policy := ast.NewObject([2]*ast.Term{ast.StringTerm("name"), ast.StringTerm(r.path[1])}, [2]*ast.Term{ast.StringTerm("spec"), value})
		return ast.NewObject([2]*ast.Term{ast.StringTerm("networkPolicies"), ast.ArrayTerm(ast.NewTerm(policy))})
	}
	for _, key := range slices.Backward(r.path) {
		value = ast.NewTerm(ast.NewObject([2]*ast.Term{ast.StringTerm(key), value}))
	}
	return value.Value
}

// bareField drops the path that err begins with: the caller names it.
func bareField(err error, path []string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, key := range path {
		text = strings.TrimPrefix(text, key+": ")
	}
	return fmt.Errorf("%s", text)
}

// isRead reports whether some rule or test mentions a rule of detnet.site.
func isRead(name string, modules map[string]*ast.Module) bool {
	found := false
	full := sitePackage.Append(ast.StringTerm(name))
	for _, m := range modules {
		ast.WalkRefs(m, func(ref ast.Ref) bool {
			found = found || ref.HasPrefix(full)
			return found
		})
		mentions := func(v ast.Var) bool {
			found = found || string(v) == name
			return found
		}
		for _, rule := range m.Rules {
			ast.WalkVars(rule.Body, mentions)
			if rule.Head.Value != nil {
				ast.WalkVars(rule.Head.Value, mentions)
			}
		}
	}
	return found
}

// checkReferences finds references into data that lead nowhere: such a rule
// would silently have no value. Only what is not shipped is checked.
func (s Set) checkReferences(compiled map[string]*ast.Module, data map[string]any) error {
	var defined [][]string
	for _, m := range compiled {
		for _, rule := range m.Rules {
			defined = append(defined, names(rule.Ref()))
		}
	}
	shipped := Default()
	var err error
	for _, file := range sortedKeys(compiled) {
		if strings.HasSuffix(file, "_test.rego") || s[file] == shipped[file] {
			continue
		}
		for _, rule := range compiled[file].Rules {
			ast.WalkRefs(rule, func(ref ast.Ref) bool {
				path := names(ref)
				if err != nil || !ref[0].Equal(ast.DefaultRootDocument) || len(path) < 2 || leads(path, defined, data) {
					return err != nil
				}
				at := location(ref[0].Location)
				err = fmt.Errorf("%w: %s:%d: nothing defines %s: is a file missing, or a name misspelt?", ErrPolicy, at.File, at.Row, strings.Join(path, "."))
				return true
			})
		}
	}
	return err
}

// leads reports whether a rule lies at the path, below it or on the way, or
// data does.
func leads(path []string, defined [][]string, data map[string]any) bool {
	if _, ok := data[path[1]]; ok {
		return true
	}
	return slices.ContainsFunc(defined, func(rule []string) bool {
		n := min(len(path), len(rule))
		return slices.Equal(path[:n], rule[:n])
	})
}
