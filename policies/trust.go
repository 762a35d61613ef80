package policies

import (
	"fmt"
	"slices"
	"strings"
)

// settings is the data beside the classes. The rules read it; it is checked
// here, because a typing error in it would be a gap in who is trusted.
type settings struct {
	Defaults struct {
		Unlabelled string `json:"unlabelled"`
	} `json:"defaults"`
	Trust struct {
		Classes     []string `json:"classes"`
		Otherwise   string   `json:"otherwise"`
		DowngradeTo string   `json:"downgradeTo"`
	} `json:"trust"`
}

// checkSettings reads defaults and trust strictly. Data of other names is the
// site's own, unless it looks like a typing error for one of detnet's.
func (s Set) checkSettings(data map[string]any, classes map[string]classSpec) error {
	for _, key := range sortedKeys(data) {
		if advice := didYouMean(key, []string{"classes", "defaults", "trust"}); advice != "" {
			return fmt.Errorf("%w: %s nothing reads %s%s", ErrPolicy, s.place(key), key, advice)
		}
	}
	part := map[string]any{"defaults": data["defaults"], "trust": data["trust"]}
	var set settings
	if err := strictly(part, &set); err != nil {
		path := narrow(part, func(v any) error { return strictly(v, new(settings)) })
		return fmt.Errorf("%w: %s %w%s", ErrPolicy, s.place(path...), err, didYouMean(path[len(path)-1], settingKeys))
	}
	for _, named := range []struct {
		path    []string
		classes []string
	}{
		{[]string{"defaults", "unlabelled"}, []string{set.Defaults.Unlabelled}},
		{[]string{"trust", "classes"}, set.Trust.Classes},
		{[]string{"trust", "downgradeTo"}, []string{set.Trust.DowngradeTo}},
	} {
		for _, name := range named.classes {
			if _, ok := classes[name]; !ok && name != "" {
				return fmt.Errorf("%w: %s %s: %w", ErrPolicy, s.place(named.path...), strings.Join(named.path, "."), noClass(name, classes))
			}
		}
	}
	if !slices.Contains([]string{"downgrade", "deny", "allow"}, set.Trust.Otherwise) {
		return fmt.Errorf("%w: %s trust.otherwise: %q must be downgrade, deny or allow", ErrPolicy, s.place("trust", "otherwise"), set.Trust.Otherwise)
	}
	return nil
}

// settingKeys are the keys of the settings, for advice.
var settingKeys = []string{"unlabelled", "classes", "otherwise", "downgradeTo"}

// noClass says that there is no class of that name, and which there are.
func noClass(name string, classes map[string]classSpec) error {
	known := sortedKeys(classes)
	return fmt.Errorf("%q is no class; there are %s%s", name, strings.Join(known, ", "), didYouMean(name, known))
}
