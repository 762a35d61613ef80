package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/bitrate"
)

// decode reads the value of the decision rule strictly: an unknown key, a
// wrong type or an unusable value is an error with its path, because a policy
// that means something else than it says must not take effect.
func (e *Engine) decode(v ast.Value) (Decision, error) {
	var d Decision
	err := fields(v, func(key string, v ast.Value) (err error) {
		switch key {
		case "class":
			d.Class, err = text(v)
		case "priorityClassName":
			d.PriorityClassName, err = text(v)
		case "bandwidth", "slo":
			err = fields(v, func(part string, v ast.Value) error { return d.decodeField(key+"."+part, v) })
		case "networkPolicies":
			d.NetworkPolicies, err = e.decodeNetworkPolicies(v)
		case "labels":
			d.Labels, err = textMap(v)
		case "annotations":
			d.Annotations, err = textMap(v)
		case "affinity":
			d.Affinity, err = decodeAffinity(v)
		case "warnings":
			d.Warnings, err = texts(v)
		case "deny":
			d.Deny, err = texts(v)
		case "reasons":
			d.Reasons, err = texts(v)
		default:
			err = d.decodeField(key, v)
		}
		return err
	})
	if err != nil {
		return Decision{}, err
	}
	return d, nil
}

// decodeField reads a value that has an annotation of its own.
func (d *Decision) decodeField(path string, v ast.Value) (err error) {
	for _, f := range textFields {
		if f.path == path {
			*f.of(d), err = f.read(v)
			return err
		}
	}
	for _, f := range rateFields {
		if f.path == path {
			*f.of(d), err = rate(v)
			return err
		}
	}
	switch path {
	case "bandwidth.weight":
		d.Bandwidth.Weight, err = number(v)
	case "bandwidth.priority":
		d.Bandwidth.Priority, err = text(v)
	default:
		err = errUnknown
	}
	return err
}

var errUnknown = fmt.Errorf("unknown key")

// fields calls f for each key of an object and puts the key into f's error.
func fields(v ast.Value, f func(key string, v ast.Value) error) error {
	object, ok := v.(ast.Object)
	if !ok {
		return fmt.Errorf("want an object, got %s", ast.ValueName(v))
	}
	return object.Iter(func(k, v *ast.Term) error {
		key, ok := k.Value.(ast.String)
		if !ok {
			return fmt.Errorf("key %v is not a string", k)
		}
		if err := f(string(key), v.Value); err != nil {
			return fmt.Errorf("%s: %w", string(key), err)
		}
		return nil
	})
}

func (e *Engine) decodeNetworkPolicies(v ast.Value) ([]NetworkPolicy, error) {
	var out []NetworkPolicy
	err := items(v, func(v ast.Value) error {
		var p NetworkPolicy
		err := fields(v, func(key string, v ast.Value) (err error) {
			switch key {
			case "name":
				p.Name, err = text(v)
			case "spec":
				p.Spec, err = e.rules.byValue(v)
			default:
				err = errUnknown
			}
			return err
		})
		out = append(out, p)
		return err
	})
	return out, err
}

func decodeAffinity(v ast.Value) (*corev1.Affinity, error) {
	var a corev1.Affinity
	if err := ast.As(v, &a); err != nil {
		return nil, err
	}
	return &a, nil
}

func text(v ast.Value) (string, error) {
	s, ok := v.(ast.String)
	if !ok {
		return "", fmt.Errorf("want a string, got %s", ast.ValueName(v))
	}
	return string(s), nil
}

func textOrNumber(v ast.Value) (string, error) {
	if n, ok := v.(ast.Number); ok {
		return string(n), nil
	}
	return text(v)
}

// textOrList reads a text or an array or set of texts, which it joins by commas.
func textOrList(v ast.Value) (string, error) {
	if _, ok := v.(ast.String); ok {
		return text(v)
	}
	list, err := texts(v)
	return strings.Join(list, ","), err
}

func number(v ast.Value) (int, error) {
	n, ok := v.(ast.Number)
	if ok {
		if i, ok := n.Int(); ok {
			return i, nil
		}
	}
	return 0, fmt.Errorf("want a whole number, got %v", v)
}

// rate reads a number of bit/s or a quantity such as "100M".
func rate(v ast.Value) (bitrate.Rate, error) {
	if n, ok := v.(ast.Number); ok {
		i, ok := n.Int64()
		if r := bitrate.Rate(i); ok && r >= bitrate.LeastLimit && r <= bitrate.MostLimit {
			return r, nil
		}
		return 0, fmt.Errorf("%v bit/s must be a whole number from %d to %d", n, bitrate.LeastLimit, bitrate.MostLimit)
	}
	s, err := text(v)
	if err != nil {
		return 0, err
	}
	return bitrate.ParseLimit(s)
}

// items calls f for each element of an array or set.
func items(v ast.Value, f func(ast.Value) error) error {
	list, ok := v.(interface {
		Iter(func(*ast.Term) error) error
	})
	if !ok {
		return fmt.Errorf("want an array or a set, got %s", ast.ValueName(v))
	}
	return list.Iter(func(t *ast.Term) error { return f(t.Value) })
}

// texts reads an array or a set of strings and sorts it.
func texts(v ast.Value) ([]string, error) {
	var out []string
	err := items(v, func(v ast.Value) error {
		s, err := text(v)
		out = append(out, s)
		return err
	})
	slices.Sort(out)
	return out, err
}

func textMap(v ast.Value) (map[string]string, error) {
	var out map[string]string
	err := fields(v, func(key string, v ast.Value) error {
		s, err := text(v)
		if out == nil {
			out = map[string]string{}
		}
		out[key] = s
		return err
	})
	return out, err
}
