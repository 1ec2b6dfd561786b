# DenseNet-161 as the paper describes it: a cell on the image, one beside each of the first four blocks; 512-d.
# Widths and strides of the cells are not published; these fit the trunk's.
encoder_name = "d161"
encoder = dict(
    type="ReIDEncoder",
    backbone=dict(
        type="SideNetworkBackbone",
        trunk=dict(
            type="TimmBackbone",
            name="densenet161",
            init_cfg=dict(type="Pretrained", checkpoint="torchvision://densenet161"),
        ),
        cell=dict(type="BConvCell"),
        blocks=[
            dict(out_layer="net.features.pool0", cells=[(16, 4)], fuse=96),
            dict(out_layer="net.features.transition1", cells=[(96, 2)], fuse=192),
            dict(out_layer="net.features.transition2", cells=[(192, 2)], fuse=384),
            dict(out_layer="net.features.transition3", cells=[(384, 2)], fuse=512),
            dict(out_layer="net.features.norm5", cells=[(512, 1)], fuse=512),
        ],
    ),
    pool=dict(type="GlobalAvgPool"),
    neck=dict(type="BNNeck"),
)
