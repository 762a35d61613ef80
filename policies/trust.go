package policies

import (
	"encoding/json"
	"fmt"
	"slices"
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

func checkSettings(data map[string]any, classes map[string]Class) error {
	raw, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("%w: data: %w", ErrPolicy, err)
	}
	var s settings
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("%w: data: %w", ErrPolicy, err)
	}
	named := map[string][]string{
		"defaults.unlabelled": {s.Defaults.Unlabelled},
		"trust.classes":       s.Trust.Classes,
		"trust.downgradeTo":   {s.Trust.DowngradeTo},
	}
	for _, path := range []string{"defaults.unlabelled", "trust.classes", "trust.downgradeTo"} {
		for _, name := range named[path] {
			if _, ok := classes[name]; !ok && name != "" {
				return fmt.Errorf("%w: data.%s: %q is no class", ErrPolicy, path, name)
			}
		}
	}
	if !slices.Contains([]string{"downgrade", "deny", "allow"}, s.Trust.Otherwise) {
		return fmt.Errorf("%w: data.trust.otherwise: %q must be downgrade, deny or allow", ErrPolicy, s.Trust.Otherwise)
	}
	return nil
}
