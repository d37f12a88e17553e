"""Amazon ECS as a service: its model, and the errors that customers see."""

from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.service import Service

ecs = Service("ecs")

AccessDeniedException = ecs.error("AccessDeniedException")
ClientException = ecs.error("ClientException")
InvalidParameterException = ecs.error("InvalidParameterException")
ClusterNotFoundException = ecs.error("ClusterNotFoundException", "Cluster not found.")
ClusterContainsServicesException = ecs.error(
    "ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active.")
ClusterContainsTasksException = ecs.error(
    "ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
ServiceNotFoundException = ecs.error("ServiceNotFoundException", "Service not found.")
ServiceNotActiveException = ecs.error("ServiceNotActiveException", "Service was not ACTIVE.")
ServiceDeploymentNotFoundException = ecs.error(
    "ServiceDeploymentNotFoundException", "The service deployment ARN that you specified doesn't exist.")
ConflictException = ecs.error("ConflictException")
NamespaceNotFoundException = ecs.error("NamespaceNotFoundException", "The specified namespace wasn't found.")
PlatformUnknownException = ecs.error("PlatformUnknownException", "The specified platform does not exist.")
ResourceNotFoundException = ecs.error("ResourceNotFoundException", "The specified resource was not found.")


def unsupported(what: str, error: type[AwsError] = InvalidParameterException) -> AwsError:
    """The refusal of a parameter that AWS honours and we do not: better a clear word than a stored lie."""
    return error(f"{what} is not supported by Cloudlet yet.")
