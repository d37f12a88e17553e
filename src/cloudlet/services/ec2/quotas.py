"""How much of each an account may have in a region: AWS's defaults, or what AWS grants on request where noted.

https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
"""

VPCS = 100  # granted on request; 5 by default
SUBNETS_PER_VPC = 200
CIDRS_PER_VPC = 5
ROUTE_TABLES_PER_VPC = 200
ROUTES_PER_TABLE = 500
INTERNET_GATEWAYS = 100  # goes with VPCs
SECURITY_GROUPS = 2500
RULES_PER_GROUP = 60  # in each direction; IPv4 and IPv6 counted apart
GROUPS_PER_INTERFACE = 5
ADDRESSES_PER_INTERFACE = 50  # that no instance has: as many as any type allows
ELASTIC_IPS = 100  # granted on request; 5 by default
VCPUS = 1152  # of instances that are not stopped; granted on request, 5 by default
LAUNCH_TEMPLATES = 5000
TEMPLATE_VERSIONS = 10_000
