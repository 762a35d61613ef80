package webhook

import (
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type keys = map[string]string

// made is a pod as a controller makes it.
func made(apiVersion, kind, name string, has keys) *corev1.Pod {
	pod, yes := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: has}}, true
	if kind != "" {
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name, Controller: &yes}}
	}
	return pod
}

// Pods of one rollout or run and of the next are of one workload.
func TestNextRolloutIsTheSameWorkload(t *testing.T) {
	spark := func(role string) keys {
		return keys{"sparkoperator.k8s.io/app-name": "etl-1700000000000000000", "spark-role": role, "spark-app-name": "etl"}
	}
	tekton := func(run string) keys {
		return keys{"tekton.dev/pipeline": "ci", "tekton.dev/pipelineTask": "build", "tekton.dev/pipelineRun": run}
	}
	jobSet := func(name string) keys {
		return keys{"jobset.sigs.k8s.io/jobset-name": name, "jobset.sigs.k8s.io/replicatedjob-name": "workers"}
	}
	later := spark("executor")
	later["sparkoperator.k8s.io/app-name"] = "etl-1700000060000000000"
	for name, c := range map[string]struct {
		one, next *corev1.Pod
		want      string
	}{
		"Deployment": {
			made("apps/v1", "ReplicaSet", "up-7d9c5b6f4", keys{"pod-template-hash": "7d9c5b6f4"}),
			made("apps/v1", "ReplicaSet", "up-5f6b8c", keys{"pod-template-hash": "5f6b8c"}), "Deployment/up",
		},
		"Argo Rollout": {
			made("apps/v1", "ReplicaSet", "up-7d9c5b6f4", keys{"rollouts-pod-template-hash": "7d9c5b6f4"}),
			made("apps/v1", "ReplicaSet", "up-5f6b8c", keys{"rollouts-pod-template-hash": "5f6b8c"}), "Rollout.argoproj.io/up",
		},
		"Knative Service": {
			made("apps/v1", "ReplicaSet", "fn-00001-deployment-7d9c", keys{"pod-template-hash": "7d9c", "serving.knative.dev/configuration": "fn", "serving.knative.dev/revision": "fn-00001"}),
			made("apps/v1", "ReplicaSet", "fn-00002-deployment-5f6b", keys{"pod-template-hash": "5f6b", "serving.knative.dev/configuration": "fn", "serving.knative.dev/revision": "fn-00002"}),
			"Configuration.serving.knative.dev/fn",
		},
		"DeploymentConfig": {
			made("v1", "ReplicationController", "web-1", keys{"deploymentconfig": "web", "deployment": "web-1"}),
			made("v1", "ReplicationController", "web-2", keys{"deploymentconfig": "web", "deployment": "web-2"}), "DeploymentConfig.apps.openshift.io/web",
		},
		"Argo Workflow": {
			made("argoproj.io/v1alpha1", "Workflow", "etl-x7d9z", nil), made("argoproj.io/v1alpha1", "Workflow", "etl-bcdf2", nil), "Workflow.argoproj.io/etl",
		},
		"Argo CronWorkflow": {
			made("argoproj.io/v1alpha1", "Workflow", "nightly-1700000000", nil), made("argoproj.io/v1alpha1", "Workflow", "nightly-1700086400", nil), "Workflow.argoproj.io/nightly",
		},
		"Spark operator's driver": {
			made("sparkoperator.k8s.io/v1beta2", "SparkApplication", "etl-1700000000000000000", spark("driver")),
			made("sparkoperator.k8s.io/v1beta2", "SparkApplication", "etl", keys{"sparkoperator.k8s.io/app-name": "etl", "spark-role": "driver"}), "SparkApplication.sparkoperator.k8s.io/etl/driver",
		},
		"Spark operator's executors": {
			made("v1", "Pod", "etl-1700000000000000000-driver", spark("executor")), made("v1", "Pod", "etl-1700000060000000000-driver", later),
			"SparkApplication.sparkoperator.k8s.io/etl/executor",
		},
		"spark-submit's driver, whom nobody controls": {
			made("", "", "", keys{"spark-app-name": "pi", "spark-role": "driver"}), made("", "", "", keys{"spark-app-name": "pi", "spark-role": "driver"}), "Spark/pi/driver",
		},
		"Tekton Pipeline": {
			made("tekton.dev/v1", "TaskRun", "ci-run-1-build", tekton("ci-run-1")), made("tekton.dev/v1", "TaskRun", "ci-run-2-build", tekton("ci-run-2")), "Pipeline.tekton.dev/ci/build",
		},
		"Tekton Task": {
			made("tekton.dev/v1", "TaskRun", "b-x7d9z", keys{"tekton.dev/task": "b"}), made("tekton.dev/v1", "TaskRun", "again", keys{"tekton.dev/task": "b"}), "Task.tekton.dev/b",
		},
		"JobSet": {
			made("batch/v1", "Job", "train-x7d9z-workers-0", jobSet("train-x7d9z")), made("batch/v1", "Job", "train-bcdf2-workers-1", jobSet("train-bcdf2")),
			"JobSet.jobset.x-k8s.io/train/workers",
		},
		"Actions runners": {
			made("actions.github.com/v1alpha1", "EphemeralRunner", "big-x7d9z-runner-bcdf2", keys{"actions.github.com/scale-set-name": "big"}),
			made("actions.github.com/v1alpha1", "EphemeralRunner", "big-x7d9z-runner-4567z", keys{"actions.github.com/scale-set-name": "big"}),
			"AutoscalingRunnerSet.actions.github.com/big",
		},
		"generated Jobs":            {made("batch/v1", "Job", "etl-x7d9z", nil), made("batch/v1", "Job", "etl-bcdf2", nil), "Job/etl"},
		"a kind that nobody knows":  {made("example.com/v1", "Run", "etl-x7d9z", nil), made("example.com/v1", "Run", "etl-bcdf2", nil), "Run.example.com/etl"},
		"a StatefulSet":             {made("apps/v1", "StatefulSet", "db-bcdf2", nil), made("apps/v1", "StatefulSet", "db-bcdf2", nil), "StatefulSet/db-bcdf2"},
		"all of its name generated": {made("batch/v1", "Job", "-bcdf2", nil), made("batch/v1", "Job", "-bcdf2", nil), "Job/-bcdf2"},
		"the administrator's label": {made("flink.apache.org/v1", "Blue", "1", keys{"team/run-of": "etl"}), made("", "", "", keys{"team/run-of": "etl"}), "team/run-of/etl"},
		"nobody's pod":              {made("", "", "", keys{"app": "x"}), made("", "", "", nil), ""},
	} {
		one, next := workloadOf(c.one, []string{"team/run-of"}), workloadOf(c.next, []string{"team/run-of"})
		if one != c.want || next != c.want {
			t.Errorf("%s: %q and then %q, want %q", name, one, next, c.want)
		}
	}
}

// What only looks alike is not the same workload.
func TestOtherWorkloads(t *testing.T) {
	hash := keys{"pod-template-hash": "7d9c"}
	pods := map[string]*corev1.Pod{
		"a Deployment":                            made("apps/v1", "ReplicaSet", "up-7d9c", hash),
		"a Rollout":                               made("apps/v1", "ReplicaSet", "up-7d9c", keys{"rollouts-pod-template-hash": "7d9c"}),
		"a bare ReplicaSet":                       made("apps/v1", "ReplicaSet", "up", nil),
		"a bare ReplicaSet with a copied hash":    made("apps/v1", "ReplicaSet", "up2", hash),
		"a ReplicaSet of another group":           made("example.com/v1", "ReplicaSet", "up-7d9c", hash),
		"a bare ReplicationController":            made("v1", "ReplicationController", "up", nil),
		"a StatefulSet":                           made("apps/v1", "StatefulSet", "up", nil),
		"a DaemonSet":                             made("apps/v1", "DaemonSet", "up", nil),
		"a Job":                                   made("batch/v1", "Job", "up", nil),
		"a Volcano Job":                           made("batch.volcano.sh/v1alpha1", "Job", "up", nil),
		"a Workflow":                              made("argoproj.io/v1alpha1", "Workflow", "up", nil),
		"another task of a Pipeline":              made("tekton.dev/v1", "TaskRun", "x", keys{"tekton.dev/pipeline": "up", "tekton.dev/pipelineTask": "b"}),
		"a task of a Pipeline":                    made("tekton.dev/v1", "TaskRun", "x", keys{"tekton.dev/pipeline": "up", "tekton.dev/pipelineTask": "a"}),
		"a Deployment with the label of a JobSet": made("apps/v1", "ReplicaSet", "other-7d9c", keys{"pod-template-hash": "7d9c", "jobset.sigs.k8s.io/jobset-name": "up", "jobset.sigs.k8s.io/replicatedjob-name": "up"}),
	}
	seen := map[string]string{}
	for name, pod := range pods {
		before := maps.Clone(pod.Labels)
		id := workloadOf(pod, nil)
		if other, ok := seen[id]; ok || id == "" {
			t.Errorf("%s and %s are both %q", name, other, id)
		}
		seen[id] = name
		if !maps.Equal(before, pod.Labels) {
			t.Errorf("%s: labels changed", name)
		}
	}
}
