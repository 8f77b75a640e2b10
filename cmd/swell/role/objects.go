package role

import (
	"log/slog"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/cmd/swell/plans"
	"swell.dev/swell/controlplane"
	"swell.dev/swell/controlplane/budgets"
	"swell.dev/swell/controlplane/store"
)

// storeConfig says what the store keeps of each kind of object.
func storeConfig(client *clientv3.Client, identity string, log *slog.Logger) store.Config {
	return store.Config{
		Client: client, Identity: identity, Log: log,
		New: newObject, Durable: durable, Restored: restored,
		Pack:     map[string]func(controlplane.Object) string{"pods": podKin},
		Volatile: map[string]bool{"events": true},
	}
}

func newObject(resource string) controlplane.Object {
	switch resource {
	case "pods":
		return &corev1.Pod{}
	case "namespaces":
		return &corev1.Namespace{}
	case "nodes":
		return &corev1.Node{}
	case "configmaps":
		return &corev1.ConfigMap{}
	case "secrets":
		return &corev1.Secret{}
	case "resourcequotas":
		return &corev1.ResourceQuota{}
	case "limitranges":
		return &corev1.LimitRange{}
	case "events":
		return &corev1.Event{}
	case "slotpolicies":
		return &v1alpha1.SlotPolicy{}
	case "startupboosts":
		return &v1alpha1.StartupBoost{}
	case "autosizes":
		return &v1alpha1.Autosize{}
	case "usagecheckpoints":
		return &v1alpha1.UsageCheckpoint{}
	case "savingsplans":
		return &v1alpha1.SavingsPlan{}
	case "budgets":
		return &v1alpha1.Budget{}
	case "accountbudgets":
		return &v1alpha1.AccountBudget{}
	case "projects":
		return &v1alpha1.Project{}
	case "priorityclasses":
		return &schedulingv1.PriorityClass{}
	}
	return nil
}

// durable leaves out what nodelets observe and tell again. See docs/decisions/0001-status-in-memory.md.
func durable(o controlplane.Object) controlplane.Object {
	switch o := o.(type) {
	case *corev1.Pod:
		if ended(o) || unobserved(&o.Status) {
			return o
		}
		out := *o
		out.Status = corev1.PodStatus{
			Phase: corev1.PodPending, StartTime: o.Status.StartTime, QOSClass: o.Status.QOSClass,
			ObservedGeneration: o.Status.ObservedGeneration,
		}
		for _, c := range o.Status.Conditions {
			if decided(c.Type) {
				out.Status.Conditions = append(out.Status.Conditions, c)
			}
		}
		return &out
	case *corev1.Node:
		out := *o
		out.Status = corev1.NodeStatus{}
		return &out
	case *corev1.ResourceQuota:
		out := *o
		out.Status = corev1.ResourceQuotaStatus{}
		return &out
	case *v1alpha1.SlotPolicy:
		out := *o
		out.Status = v1alpha1.SlotPolicyStatus{}
		return &out
	case *v1alpha1.Autosize:
		out := *o
		out.Status = v1alpha1.AutosizeStatus{}
		return &out
	case *v1alpha1.Budget:
		out := *o
		out.Status = budgets.Kept(o.Status)
		return &out
	case *v1alpha1.AccountBudget:
		out := *o
		out.Status = budgets.Kept(o.Status)
		return &out
	case *v1alpha1.SavingsPlan:
		out := *o
		out.Status = plans.Kept(o.Status)
		return &out
	}
	return o
}

// podKin is what pods of one workload have in common: mostly more than what their specs tell them apart by.
func podKin(o controlplane.Object) string {
	pod := o.(*corev1.Pod)
	kin := pod.Namespace
	for i := range pod.Spec.Containers {
		kin += "\x00" + pod.Spec.Containers[i].Image
	}
	return kin
}

// decided tells the conditions that are the control plane's, and so are stored.
func decided(t corev1.PodConditionType) bool {
	return t == corev1.PodScheduled || t == corev1.PodResizePending || t == corev1.DisruptionTarget
}

// unobserved reports a status as a create leaves it: all of it is the control plane's.
func unobserved(st *corev1.PodStatus) bool {
	if st.Phase != corev1.PodPending || st.HostIP != "" || st.PodIP != "" || st.Reason != "" || st.Message != "" || st.NominatedNodeName != "" ||
		len(st.HostIPs)+len(st.PodIPs)+len(st.ContainerStatuses)+len(st.InitContainerStatuses)+len(st.EphemeralContainerStatuses) > 0 {
		return false
	}
	for i := range st.Conditions {
		if !decided(st.Conditions[i].Type) {
			return false
		}
	}
	return true
}

// restored says what is true of an object before its nodelet has reconnected.
func restored(o controlplane.Object) controlplane.Object {
	switch o := o.(type) {
	case *corev1.Pod:
		if ended(o) || o.Spec.NodeName == "" {
			return o
		}
		out := *o
		out.Status.Phase = corev1.PodUnknown
		out.Status.Reason = "NodeletNotConnected"
		out.Status.Message = "the control plane has started and waits for the pod's nodelet"
		out.Status.Conditions = slices.Clone(o.Status.Conditions)
		return &out
	case *corev1.Node:
		out := *o
		out.Status.Conditions = []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionUnknown, Reason: "NodeStatusUnknown", Message: "the nodelet is not connected",
		}}
		return &out
	}
	return o
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
