package manifest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/detnet/detnet/policies"
)

// kind is a kind of workload and where it keeps the template of its pods.
type kind struct {
	group, name string
	path        []string
}

// kinds are those of Kubernetes, and those of others that hold a template like
// theirs.
var kinds = []kind{
	{"", "Pod", nil},
	{"", "ReplicationController", []string{"spec", "template"}},
	{"", "PodTemplate", []string{"template"}},
	{"apps", "Deployment", []string{"spec", "template"}},
	{"apps", "StatefulSet", []string{"spec", "template"}},
	{"apps", "DaemonSet", []string{"spec", "template"}},
	{"apps", "ReplicaSet", []string{"spec", "template"}},
	{"batch", "Job", []string{"spec", "template"}},
	{"batch", "CronJob", []string{"spec", "jobTemplate", "spec", "template"}},
	{"argoproj.io", "Rollout", []string{"spec", "template"}},
	{"apps.openshift.io", "DeploymentConfig", []string{"spec", "template"}},
	{"serving.knative.dev", "Service", []string{"spec", "template"}},
	{"serving.knative.dev", "Configuration", []string{"spec", "template"}},
	{"serving.knative.dev", "Revision", []string{}},
	{"jobset.x-k8s.io", "JobSet", []string{"spec", "replicatedJobs", "*", "template", "spec", "template"}},
}

// kindOf returns the kind of o. Kubernetes' own have moved between groups.
func kindOf(o policies.Object) (kind, bool) {
	name, _ := o["kind"].(string)
	version, _ := o["apiVersion"].(string)
	own := func(group string) bool { return !strings.Contains(group, ".") } // also extensions/v1beta1
	i := slices.IndexFunc(kinds, func(k kind) bool {
		return k.name == name && (k.group == group(version) || own(k.group) && own(group(version)))
	})
	if i < 0 {
		return kind{group(version), name, nil}, false
	}
	return kinds[i], true
}

func group(apiVersion string) string {
	name, _, ok := strings.Cut(apiVersion, "/")
	if !ok {
		return ""
	}
	return name
}

func (k kind) String() string {
	if k.group == "" {
		return k.name
	}
	return k.name + "." + k.group
}

// Kinds are those whose templates are known, such as "Deployment.apps".
func Kinds() []string {
	var all []string
	for _, k := range kinds {
		all = append(all, k.String())
	}
	return all
}

// podless reports whether the kind is one of Kubernetes' own, all of whose
// templates are known here.
func (k kind) podless() bool {
	return !strings.Contains(k.group, ".") || strings.HasSuffix(k.group, ".k8s.io")
}

// at lists what the path leads to; "*" is each item of a list.
func at(o map[string]any, path []string) ([]map[string]any, error) {
	found := []map[string]any{o}
	for i := 0; i < len(path); i++ {
		var next []map[string]any
		for _, here := range found {
			value := here[path[i]]
			items := []any{value}
			if i+1 < len(path) && path[i+1] == "*" {
				items, _ = value.([]any)
			}
			for _, item := range items {
				inner, ok := item.(map[string]any)
				if !ok {
					return nil, fmt.Errorf("it has no %s", strings.Join(path, "."))
				}
				next = append(next, inner)
			}
		}
		if found = next; i+1 < len(path) && path[i+1] == "*" {
			i++
		}
	}
	return found, nil
}

// textOnly refuses values of labels and annotations that YAML took for something
// else, as the API server does, and says how to write them.
func textOnly(meta map[string]any) error {
	for _, field := range []string{"labels", "annotations"} {
		values, _ := meta[field].(map[string]any)
		for key, value := range values {
			var what string
			switch value.(type) {
			case string:
				continue
			case bool:
				what = "the boolean"
			case nil:
				what = "no text but"
			case map[string]any, []any:
				return fmt.Errorf("metadata.%s: %s holds other values; it must be text", field, key)
			default:
				what = "the number"
			}
			if value == nil {
				value = "null"
			}
			return fmt.Errorf("metadata.%s: %s is %s %v; it must be text: write \"%v\" in quotes", field, key, what, value, value)
		}
	}
	return nil
}
