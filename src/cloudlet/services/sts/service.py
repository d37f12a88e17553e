"""STS's declaration: the service and its errors."""

from cloudlet.kernel.service import Service

sts = Service("sts")

AccessDenied = sts.error("AccessDenied", status=403)
ValidationError = sts.error("ValidationError", status=400)
MalformedPolicyDocument = sts.error("MalformedPolicyDocumentException")
PackedPolicyTooLarge = sts.error("PackedPolicyTooLargeException")
ExpiredToken = sts.error("ExpiredTokenException")
IDPRejectedClaim = sts.error("IDPRejectedClaimException")
InvalidIdentityToken = sts.error("InvalidIdentityTokenException")
InvalidParameterValue = sts.error("InvalidParameterValue", status=400)
