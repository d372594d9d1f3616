"""The ABRA reconstruction for images: timm backbones trained against the bio-batch effects of their feature maps."""
