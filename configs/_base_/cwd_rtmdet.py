"""CWD between the necks of RTMDets, as in the recipe of MMYOLO."""
recipe = dict(
    loss_feat_kd=dict(
        type='ChannelWiseDivergence', norm='channel', loss_weight=1.0))
