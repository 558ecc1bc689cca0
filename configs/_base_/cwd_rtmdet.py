"""CWD between the necks of RTMDets, as in MMYOLO's recipe: off for the last 20 epochs."""
recipe = dict(
    loss_feat_kd=dict(
        type='ChannelWiseDivergence', norm='channel', loss_weight=1.0),
    schedule=dict(loss_feat_kd=dict(type='StopWeight', begin=-20)))
