package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// checkPackages finds packages whose rules could never fire: only data.detnet.decision
// is asked for, and it reads detnet.site. Packages of other names may be in a
// bundle for others' sake; those under detnet, and those that are almost
// detnet.site, are meant for detnet.
func checkPackages(compiled map[string]*ast.Module) error {
	const wanted = "detnet.site"
	for _, file := range sortedKeys(compiled) {
		own := compiled[file].Package
		name := strings.TrimPrefix(own.Path.String(), "data.")
		if strings.HasSuffix(file, "_test.rego") || name == "detnet" || name == wanted || readFromOutside(own.Path, compiled) {
			continue
		}
		tip := didYouMean(name, []string{wanted})
		switch {
		case strings.HasPrefix(name, "detnet."), tip != "":
		case name == "site", slices.ContainsFunc(compiled[file].Rules, looksLikeAdmission) && strings.Contains(name, "admission"):
		default:
			continue
		}
		if tip == "" {
			tip = ": rules of your own belong into package " + wanted
		}
		at := location(own.Location)
		return fmt.Errorf("%w: %s:%d: nothing reads package %s%s", ErrPolicy, at.File, at.Row, name, tip)
	}
	return nil
}

// looksLikeAdmission reports whether the rule has a name by which other admission
// policies are asked.
func looksLikeAdmission(r *ast.Rule) bool {
	return slices.Contains([]string{"deny", "violation", "allow", "warn", "patch"}, names(r.Head.Ref())[0])
}

// readFromOutside reports whether rules of another package, tests aside, read the
// package or a part of it.
func readFromOutside(path ast.Ref, compiled map[string]*ast.Module) bool {
	found := false
	for file, m := range compiled {
		if strings.HasSuffix(file, "_test.rego") || m.Package.Path.Equal(path) {
			continue
		}
		for _, rule := range m.Rules {
			ast.WalkRefs(rule, func(ref ast.Ref) bool {
				found = found || ref.HasPrefix(path)
				return found
			})
		}
	}
	return found
}
