package client

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"swell.dev/swell/api/v1alpha1"
)

func cpuText(milli int64) string {
	return resource.NewMilliQuantity(milli, resource.DecimalSI).String()
}

func memoryText(bytes int64) string {
	return resource.NewQuantity(bytes, resource.BinarySI).String()
}

func age(now time.Time, t metav1.Time) string {
	if t.IsZero() {
		return ""
	}
	return duration.HumanDuration(now.Sub(t.Time))
}

// podStatus says in one word where a pod stands: why it waits or ended, or else its phase.
func podStatus(pod *corev1.Pod) string {
	if pod.DeletionTimestamp != nil && !terminal(pod) {
		return "Terminating"
	}
	if s := initStatus(pod); s != "" {
		return s
	}
	status := string(pod.Status.Phase)
	if pod.Status.Reason != "" {
		status = pod.Status.Reason
	}
	running := false
	for i := len(pod.Status.ContainerStatuses) - 1; i >= 0; i-- {
		c := &pod.Status.ContainerStatuses[i]
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "":
			status = c.State.Waiting.Reason
		case c.State.Terminated != nil:
			status = endStatus(c.State.Terminated)
		case c.State.Running != nil:
			running = true
		}
	}
	// One container is done, others go on.
	if status == "Completed" && running {
		return string(corev1.PodRunning)
	}
	return status
}

// initStatus is the status while init containers are at work; empty when they are through.
func initStatus(pod *corev1.Pod) string {
	for i := range pod.Status.InitContainerStatuses {
		c := &pod.Status.InitContainerStatuses[i]
		switch {
		case c.State.Terminated != nil && c.State.Terminated.ExitCode == 0:
			continue
		case c.Started != nil && *c.Started && c.State.Running != nil && sidecar(pod, c.Name):
			continue
		case c.State.Terminated != nil:
			return "Init:" + endStatus(c.State.Terminated)
		case c.State.Waiting != nil && c.State.Waiting.Reason != "" && c.State.Waiting.Reason != "PodInitializing":
			return "Init:" + c.State.Waiting.Reason
		}
		return fmt.Sprintf("Init:%d/%d", i, len(pod.Spec.InitContainers))
	}
	return ""
}

func sidecar(pod *corev1.Pod, name string) bool {
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.Name == name {
			return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		}
	}
	return false
}

func endStatus(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return fmt.Sprintf("Signal:%d", t.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", t.ExitCode)
}

func terminal(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func podReady(pod *corev1.Pod) string {
	ready := 0
	for i := range pod.Status.ContainerStatuses {
		if c := &pod.Status.ContainerStatuses[i]; c.Ready && c.State.Running != nil {
			ready++
		}
	}
	return fmt.Sprintf("%d/%d", ready, len(pod.Spec.Containers))
}

func podRestarts(pod *corev1.Pod, now time.Time) string {
	count, last := 0, metav1.Time{}
	for i := range pod.Status.ContainerStatuses {
		c := &pod.Status.ContainerStatuses[i]
		count += int(c.RestartCount)
		if t := c.LastTerminationState.Terminated; t != nil && last.Before(&t.FinishedAt) {
			last = t.FinishedAt
		}
	}
	if count > 0 && !last.IsZero() {
		return fmt.Sprintf("%d (%s ago)", count, age(now, last))
	}
	return strconv.Itoa(count)
}

// podSize is the pod's CPU and memory, counted as billing does: what it has and, after an arrow, what it shall have.
func podSize(pod *corev1.Pod) (cpu, memory string) {
	asked := v1alpha1.Asked(pod)
	has, err := v1alpha1.Allocated(pod)
	if err != nil {
		has = asked // the annotation can't be read: fall back on what is asked for
	}
	has = maps.Clone(has)
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range list {
			if s := &list[i]; s.Resources != nil && s.State.Running != nil {
				has[s.Name] = *s.Resources
			}
		}
	}
	if _, said := has[v1alpha1.WholePod]; said && pod.Status.Resources != nil {
		has[v1alpha1.WholePod] = *pod.Status.Resources
	}
	wantCPU, wantMemory := asked.Total(pod)
	haveCPU, haveMemory := has.Total(pod)
	cpu, memory = cpuText(haveCPU), memoryText(haveMemory)
	if wantCPU != haveCPU {
		cpu += "→" + cpuText(wantCPU)
	}
	if wantMemory != haveMemory {
		memory += "→" + memoryText(wantMemory)
	}
	return cpu, memory
}

// condition answers the pod's condition of that type, nil if it has none that is true.
func condition(pod *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == kind && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}
