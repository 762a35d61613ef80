package trial

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/detnet/detnet/policies"
)

// Change is a field in which two decisions differ, named as in JSON.
type Change struct {
	Field string `json:"field"`
	From  any    `json:"from,omitempty"`
	To    any    `json:"to,omitempty"`
}

// Compare lists the fields in which b differs from a, sorted. Which set
// decided is no difference.
func Compare(a, b policies.Decision) []Change {
	from, to := flat(a), flat(b)
	keys := slices.Sorted(maps.Keys(from))
	for key := range to {
		if _, ok := from[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	var out []Change
	for _, key := range keys {
		if fmt.Sprint(from[key]) != fmt.Sprint(to[key]) {
			out = append(out, Change{key, from[key], to[key]})
		}
	}
	return out
}

// flat is a decision's fields, one level deep.
func flat(d policies.Decision) map[string]any {
	d.PolicyHash = ""
	raw, err := json.Marshal(d)
	if err != nil {
		panic(err) // a decision is plain data
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		panic(err)
	}
	out := map[string]any{}
	for key, value := range fields {
		inner, nested := value.(map[string]any)
		if !nested || key == "affinity" {
			out[key] = value
			continue
		}
		for name, v := range inner {
			out[key+"."+name] = v
		}
	}
	return out
}
