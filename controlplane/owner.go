package controlplane

import (
	"cmp"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Owner is whose pods are alike in what they use: what recommendations are made for. It is the same after a
// restart, and for pods that come later.
type Owner struct {
	Namespace string
	Kind      string // Deployment, StatefulSet …; App: pods of that name by label; Pod: pods that nothing else holds together
	Name      string
}

// Kinds of owners that aren't objects of their own.
const (
	OwnerApp = "App"
	OwnerPod = "Pod"
)

// LabelAppName is Kubernetes' recommended label for the name of an application.
const LabelAppName = "app.kubernetes.io/name"

// OwnerOf answers a pod's owner: its controller (the Deployment for a ReplicaSet that was made by one, the
// CronJob for its Job), else the application that its label names, else what its generated name begins with,
// else the pod by itself.
func OwnerOf(pod *corev1.Pod) Owner {
	out := Owner{Namespace: pod.Namespace}
	for i := range pod.OwnerReferences {
		ref := &pod.OwnerReferences[i]
		if ref.Controller == nil || !*ref.Controller {
			continue
		}
		out.Kind, out.Name = ref.Kind, ref.Name
		switch hash := pod.Labels["pod-template-hash"]; {
		case ref.Kind == "ReplicaSet" && hash != "" && strings.HasSuffix(ref.Name, "-"+hash):
			out.Kind, out.Name = "Deployment", strings.TrimSuffix(ref.Name, "-"+hash)
		case ref.Kind == "Job":
			if cron, ok := cronJobOf(ref.Name); ok {
				out.Kind, out.Name = "CronJob", cron
			}
		}
		return out
	}
	if name := pod.Labels[LabelAppName]; name != "" {
		out.Kind, out.Name = OwnerApp, name
		return out
	}
	out.Kind = OwnerPod
	out.Name = cmp.Or(strings.TrimRight(pod.GenerateName, "-."), pod.Name)
	return out
}

// cronJobOf takes off the minute that a CronJob appends to the names of its Jobs.
func cronJobOf(job string) (string, bool) {
	i := strings.LastIndexByte(job, '-')
	if i <= 0 || len(job)-i-1 < 8 || strings.Trim(job[i+1:], "0123456789") != "" {
		return "", false
	}
	return job[:i], true
}
