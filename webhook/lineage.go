package webhook

import (
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// lineage says by which labels the pods of one rollout or run are known to belong
// to the same workload as those of the next, where the name of their own
// controller does not tell.
type lineage struct {
	group, kind string   // of the pod's controller; both "": any, or none
	labels      []string // the pod has all of them, and they name the workload together
	as          string   // the kind of the workload
}

// lineages are tried in this order. Each label is set by the controller of that
// project: https://knative.dev/docs/serving/, OpenShift's DeploymentConfig API,
// https://tekton.dev/docs/pipelines/labels/, https://jobset.sigs.k8s.io/docs/reference/,
// https://spark.apache.org/docs/latest/running-on-kubernetes.html, the Spark
// operator's and GitHub's Actions Runner Controller's sources.
var lineages = []lineage{
	{"apps", "ReplicaSet", []string{"serving.knative.dev/configuration"}, "Configuration.serving.knative.dev"},
	{"", "ReplicationController", []string{"deploymentconfig"}, "DeploymentConfig.apps.openshift.io"},
	{"tekton.dev", "TaskRun", []string{"tekton.dev/pipeline", "tekton.dev/pipelineTask"}, "Pipeline.tekton.dev"},
	{"tekton.dev", "TaskRun", []string{"tekton.dev/task"}, "Task.tekton.dev"},
	{"batch", "Job", []string{"jobset.sigs.k8s.io/jobset-name", "jobset.sigs.k8s.io/replicatedjob-name"}, "JobSet.jobset.x-k8s.io"},
	{"actions.github.com", "EphemeralRunner", []string{"actions.github.com/scale-set-name"}, "AutoscalingRunnerSet.actions.github.com"},
	// An executor's controller is the driver's pod, a driver's the operator's
	// object or nobody.
	{"", "", []string{"sparkoperator.k8s.io/app-name", "spark-role"}, "SparkApplication.sparkoperator.k8s.io"},
	{"", "", []string{"spark-app-name", "spark-role"}, "Spark"},
}

// hashes are the labels that hold the last part of a ReplicaSet's name, and whose
// ReplicaSets have such names. One without is nobody's but its own.
var hashes = []struct{ label, as string }{
	{"rollouts-pod-template-hash", "Rollout.argoproj.io"},
	{"pod-template-hash", "Deployment"},
}

// lasting are the controllers that live as long as their workload does. Others
// may be one of many runs.
var lasting = []string{"ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "CronJob", "Node"}

// generated is what tells runs apart: the ends that API servers append for
// generateName (k8s.io/apimachinery/pkg/util/rand), and the times that CronJob,
// CronWorkflow and ScheduledSparkApplication append.
var generated = regexp.MustCompile(`(-[bcdfghjklmnpqrstvwxz2456789]{5}|-[0-9]{8,19})+$`)

// cut is the name without what was generated.
func cut(name string) string {
	if short := generated.ReplaceAllString(name, ""); short != "" {
		return short
	}
	return name
}

// workloadOf names the workload by the topmost controller that the pod itself
// tells of, so that the pods of the next rollout or run are siblings of these;
// "" if it tells of none. Nobody is asked. The labels are first those that the
// administrator named.
func workloadOf(pod client.Object, named []string) string {
	labels := pod.GetLabels()
	for _, key := range named {
		if value := labels[key]; value != "" {
			return key + "/" + value
		}
	}
	owner := metav1.GetControllerOf(pod)
	group, kind, name := "", "", ""
	if owner != nil {
		group, kind, name = groupOf(owner.APIVersion), owner.Kind, owner.Name
	}
	for _, l := range lineages {
		if l.kind != "" && (l.kind != kind || l.group != group) {
			continue
		}
		if values := valuesOf(labels, l.labels); values != nil {
			values[0] = cut(values[0])
			return l.as + "/" + strings.Join(values, "/")
		}
	}
	if owner == nil {
		return ""
	}
	if kind == "ReplicaSet" && group == "apps" {
		for _, h := range hashes {
			if base, ok := strings.CutSuffix(name, "-"+labels[h.label]); ok && labels[h.label] != "" && base != "" {
				return h.as + "/" + base
			}
		}
	}
	return controllerName(group, kind, name)
}

// controllerName is kind and name of a controller that no label says more of.
func controllerName(group, kind, name string) string {
	own := !strings.Contains(group, ".")
	if !own {
		kind += "." + group
	}
	if !own || !slices.Contains(lasting, kind) {
		name = cut(name)
	}
	return kind + "/" + name
}

// valuesOf returns the labels' values; nil if one is missing.
func valuesOf(labels map[string]string, keys []string) []string {
	out := make([]string, len(keys))
	for i, key := range keys {
		if out[i] = labels[key]; out[i] == "" {
			return nil
		}
	}
	return out
}

func groupOf(apiVersion string) string {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return ""
	}
	return gv.Group
}
