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
	rules map[string]*api.Rule
	seen  map[int][]cachedRule // by the hash of the value a policy gave
	size  int
}

type cachedRule struct {
	value ast.Value
	rule  *api.Rule
}

// maxCachedRules bounds the cache; beyond it the cache starts anew.
const maxCachedRules = 4096

func newRuleCache() *ruleCache {
	return &ruleCache{rules: map[string]*api.Rule{}, seen: map[int][]cachedRule{}}
}

// byText returns the rule that key stands for, made by marshal where it is new.
// The result is shared.
func (c *ruleCache) byText(key string, marshal func() ([]byte, error)) (*api.Rule, error) {
	c.mu.Lock()
	rule, ok := c.rules[key]
	c.mu.Unlock()
	if ok {
		return rule, nil
	}
	raw, err := marshal()
	if err != nil {
		return nil, err
	}
	if rule, err = parseRule(raw); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.makeRoom()
	c.rules[key] = rule
	return rule, nil
}

// byValue returns the Cilium rule that v describes. The result is shared.
func (c *ruleCache) byValue(v ast.Value) (*api.Rule, error) {
	key := v.Hash()
	if rule := c.find(key, v); rule != nil {
		return rule, nil
	}
	plain, err := ast.JSON(v)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(plain)
	if err != nil {
		return nil, err
	}
	rule, err := parseRule(raw)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.makeRoom()
	c.seen[key] = append(c.seen[key], cachedRule{v, rule})
	return rule, nil
}

func (c *ruleCache) find(key int, v ast.Value) *api.Rule {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cached := range c.seen[key] {
		if cached.value.Compare(v) == 0 {
			return cached.rule
		}
	}
	return nil
}

// makeRoom counts one more rule. The caller holds mu.
func (c *ruleCache) makeRoom() {
	if c.size++; c.size > maxCachedRules {
		clear(c.rules)
		clear(c.seen)
		c.size = 1
	}
}

// parseRule reads a rule and has Cilium's own validation accept it, on a copy,
// because Sanitize changes the rule.
func parseRule(raw []byte) (*api.Rule, error) {
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
