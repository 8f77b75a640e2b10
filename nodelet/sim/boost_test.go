package sim_test

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/nodelet"
)

func startingPod(uid, probe string) *corev1.Pod {
	pod := template(uid, uid)
	pod.Annotations = map[string]string{v1alpha1.AnnotationStartupBoost: "cpu=2"}
	pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{probe}}}, PeriodSeconds: 1, TimeoutSeconds: 20}
	return pod
}

// boost waits for a pod's report and answers it.
func (n *node) boost(uid, what string, wanted func(nodelet.Report, nodelet.BoostReport) bool) nodelet.Report {
	n.t.Helper()
	var last nodelet.Report
	n.until(uid+" "+what, func() bool {
		return slices.ContainsFunc(n.nodelet.Reports(), func(r nodelet.Report) bool {
			last = r
			return r.UID == uid && r.Boost != nil && wanted(r, *r.Boost)
		})
	})
	return last
}

func (n *node) limit(uid string) int64 {
	n.t.Helper()
	actual, err := n.cgroups.Read(uid, []string{"c"})
	if err != nil {
		n.t.Fatal(err)
	}
	cpu := actual["c"].Limits[corev1.ResourceCPU]
	return cpu.MilliValue()
}

func (n *node) sizesMetered(pod string) (sizes []int64) {
	n.journal.mu.Lock()
	defer n.journal.mu.Unlock()
	for _, s := range n.journal.metered {
		if s.Pod == pod {
			sizes = append(sizes, s.CPUMilli)
		}
	}
	return sizes
}

// TestBoostOfANodelet: a pod has its boost from its first start on and its size once it is ready; it asks anew when
// it is restarted, and the ledger hears of all of it.
func TestBoostOfANodelet(t *testing.T) {
	n := newNode(t)
	n.nodelet.Assign(nodelet.Assignment{Pod: startingPod("u1", "true"), Boost: &nodelet.BoostGrant{CPU: 1000}})
	r := n.boost("u1", "is ready with its size", func(r nodelet.Report, b nodelet.BoostReport) bool {
		return b == nodelet.BoostReport{} && len(r.Status.ContainerStatuses) > 0 && r.Status.ContainerStatuses[0].Ready
	})
	if got := n.sizesMetered("u1"); !slices.Equal(got, []int64{2000, 1000}) {
		t.Errorf("metered as %v", got)
	}
	if got, st := n.limit("u1"), r.Status.ContainerStatuses[0]; got != 1000 || st.Resources.Limits.Cpu().MilliValue() != 1000 {
		t.Errorf("the kernel has %dm, the status %v", got, st.Resources)
	}

	n.nodelet.Assign(nodelet.Assignment{Pod: startingPod("u2", "false"), Boost: &nodelet.BoostGrant{CPU: 1000}})
	n.boost("u2", "is boosted", func(r nodelet.Report, b nodelet.BoostReport) bool {
		return b == nodelet.BoostReport{Want: 1000, Held: 1000} && len(r.Status.ContainerStatuses) > 0 && r.Status.ContainerStatuses[0].State.Running != nil
	})
	if err := n.host.Exit(nodelet.ContainerID("u2", "c", 0), 1, false); err != nil {
		t.Fatal(err)
	}
	again := n.boost("u2", "asks anew", func(r nodelet.Report, b nodelet.BoostReport) bool { return b.Ask > 0 && b.Want == 1000 }).Boost
	n.nodelet.Boost("u2", nodelet.BoostGrant{Ask: again.Ask, CPU: 1000})
	n.boost("u2", "is boosted again", func(r nodelet.Report, b nodelet.BoostReport) bool { return b.Ask == again.Ask && b.Held == 1000 })

	// The nodelet is gone and another one there: it asks whether the boost may stay, and hears that it may not.
	n.stop()
	n.start()
	third := n.boost("u2", "asks after the nodelet's restart", func(r nodelet.Report, b nodelet.BoostReport) bool { return b.Ask > again.Ask && b.Want == 1000 }).Boost
	n.nodelet.Boost("u2", nodelet.BoostGrant{Ask: third.Ask})
	n.boost("u2", "has its size", func(r nodelet.Report, b nodelet.BoostReport) bool { return b.Held == 0 && b.Ask == third.Ask })
	if got := n.limit("u2"); got != 1000 {
		t.Errorf("the kernel has %dm", got)
	}
}
