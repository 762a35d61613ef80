package policies

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/cilium/cilium/pkg/policy/api"
	"github.com/open-policy-agent/opa/v1/ast"
)

// ruleCache keeps Cilium rules that were read and validated: the pods of a
// workload all yield the same ones, and validation costs more than the whole
// evaluation.
type ruleCache struct {
	mu    sync.Mutex
	byKey map[int][]cachedRule
	size  int
}

type cachedRule struct {
	value ast.Value
	rule  *api.Rule
}

// maxCachedRules bounds the cache; beyond it the cache starts anew.
const maxCachedRules = 4096

func newRuleCache() *ruleCache { return &ruleCache{byKey: map[int][]cachedRule{}} }

// rule returns the Cilium rule that v describes. The result is shared.
func (c *ruleCache) rule(v ast.Value) (*api.Rule, error) {
	key := v.Hash()
	c.mu.Lock()
	for _, cached := range c.byKey[key] {
		if cached.value.Compare(v) == 0 {
			c.mu.Unlock()
			return cached.rule, nil
		}
	}
	c.mu.Unlock()
	rule, err := parseRule(v)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size >= maxCachedRules {
		clear(c.byKey)
		c.size = 0
	}
	c.byKey[key] = append(c.byKey[key], cachedRule{v, rule})
	c.size++
	return rule, nil
}

// parseRule reads v and has Cilium's own validation accept it, on a copy,
// because Sanitize changes the rule.
func parseRule(v ast.Value) (*api.Rule, error) {
	plain, err := ast.JSON(v)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(plain)
	if err != nil {
		return nil, err
	}
	rule := &api.Rule{}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(rule); err != nil {
		return nil, fmt.Errorf("not a Cilium rule: %w", err)
	}
	if err := rule.DeepCopy().Sanitize(); err != nil {
		return nil, fmt.Errorf("refused by Cilium's validation: %w", err)
	}
	return rule, nil
}
