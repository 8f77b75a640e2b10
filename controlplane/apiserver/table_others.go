package apiserver

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/controlplane"
)

var configMapTable = table{
	columns: []metav1.TableColumnDefinition{nameColumn(), column("Data", "The number of keys."), ageColumn()},
	row: func(o controlplane.Object) metav1.TableRow {
		cm := o.(*corev1.ConfigMap)
		return metav1.TableRow{Cells: []any{cm.Name, int64(len(cm.Data) + len(cm.BinaryData)), since(cm.CreationTimestamp)}}
	},
}

var secretTable = table{
	columns: []metav1.TableColumnDefinition{
		nameColumn(), column("Type", corev1.Secret{}.SwaggerDoc()["type"]), column("Data", "The number of keys."), ageColumn(),
	},
	row: func(o controlplane.Object) metav1.TableRow {
		secret := o.(*corev1.Secret)
		return metav1.TableRow{Cells: []any{secret.Name, string(secret.Type), int64(len(secret.Data)), since(secret.CreationTimestamp)}}
	},
}

var namespaceTable = table{
	columns: []metav1.TableColumnDefinition{nameColumn(), column("Status", "Active, or Terminating."), ageColumn()},
	row: func(o controlplane.Object) metav1.TableRow {
		ns := o.(*corev1.Namespace)
		return metav1.TableRow{Cells: []any{ns.Name, string(ns.Status.Phase), since(ns.CreationTimestamp)}}
	},
}

var nodeTable = table{
	columns: []metav1.TableColumnDefinition{
		nameColumn(),
		column("Status", "Whether the node is ready, and whether it takes new pods."),
		column("Roles", "The roles of the node."),
		ageColumn(),
		column("Version", corev1.NodeSystemInfo{}.SwaggerDoc()["kubeletVersion"]),
		wide("Internal-IP", "The address inside."),
		wide("External-IP", "The address outside."),
		wide("OS-Image", corev1.NodeSystemInfo{}.SwaggerDoc()["osImage"]),
		wide("Kernel-Version", corev1.NodeSystemInfo{}.SwaggerDoc()["kernelVersion"]),
		wide("Container-Runtime", corev1.NodeSystemInfo{}.SwaggerDoc()["containerRuntimeVersion"]),
	},
	row: func(o controlplane.Object) metav1.TableRow {
		n := o.(*corev1.Node)
		info := n.Status.NodeInfo
		return metav1.TableRow{Cells: []any{
			n.Name, nodeStatus(n), nodeRoles(n), since(n.CreationTimestamp), info.KubeletVersion,
			nodeAddress(n, corev1.NodeInternalIP), nodeAddress(n, corev1.NodeExternalIP),
			orUnknown(info.OSImage), orUnknown(info.KernelVersion), orUnknown(info.ContainerRuntimeVersion),
		}}
	},
}

func nodeStatus(n *corev1.Node) string {
	status := "Unknown"
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			status = "NotReady"
			if c.Status == corev1.ConditionTrue {
				status = "Ready"
			}
		}
	}
	if n.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	return status
}

func nodeRoles(n *corev1.Node) string {
	const prefix = "node-role.kubernetes.io/"
	var roles []string
	for k := range n.Labels {
		if role, ok := strings.CutPrefix(k, prefix); ok && role != "" {
			roles = append(roles, role)
		}
	}
	slices.Sort(roles)
	return orNone(strings.Join(roles, ","))
}

func nodeAddress(n *corev1.Node, t corev1.NodeAddressType) string {
	for _, a := range n.Status.Addresses {
		if a.Type == t {
			return a.Address
		}
	}
	return none
}

func orUnknown(s string) string {
	if s == "" {
		return unknown
	}
	return s
}

var eventTable = table{
	columns: []metav1.TableColumnDefinition{
		column("Last Seen", "When it happened last."),
		column("Type", corev1.Event{}.SwaggerDoc()["type"]),
		column("Reason", corev1.Event{}.SwaggerDoc()["reason"]),
		column("Object", corev1.Event{}.SwaggerDoc()["involvedObject"]),
		wide("Subobject", corev1.ObjectReference{}.SwaggerDoc()["fieldPath"]),
		wide("Source", corev1.Event{}.SwaggerDoc()["source"]),
		column("Message", corev1.Event{}.SwaggerDoc()["message"]),
		wide("First Seen", corev1.Event{}.SwaggerDoc()["firstTimestamp"]),
		wide("Count", corev1.Event{}.SwaggerDoc()["count"]),
		wideName(),
	},
	row: func(o controlplane.Object) metav1.TableRow {
		e := o.(*corev1.Event)
		first, last, count := e.FirstTimestamp, e.LastTimestamp, int64(e.Count)
		if first.IsZero() {
			first = metav1.NewTime(e.EventTime.Time)
		}
		if e.Series != nil {
			last, count = metav1.NewTime(e.Series.LastObservedTime.Time), int64(e.Series.Count)
		}
		if last.IsZero() {
			last = first
		}
		if count == 0 {
			count = 1
		}
		source := e.Source.Component
		if source == "" {
			source = e.ReportingController
		}
		if e.Source.Host != "" {
			source += ", " + e.Source.Host
		}
		object := strings.ToLower(e.InvolvedObject.Kind)
		if e.InvolvedObject.Name != "" {
			object = fmt.Sprintf("%s/%s", object, e.InvolvedObject.Name)
		}
		return metav1.TableRow{Cells: []any{
			since(last), e.Type, e.Reason, object, e.InvolvedObject.FieldPath, source, strings.TrimSpace(e.Message),
			since(first), count, e.Name,
		}}
	},
}

func wideName() metav1.TableColumnDefinition {
	c := nameColumn()
	c.Priority = 1
	return c
}
